import Discovery
import KubernetesAPI

/// The API server's word on a ServiceAccount token (authentication.k8s.io/v1 TokenReview). Pure.
enum TokenReview {
  static let resource = KubernetesResource(group: "authentication.k8s.io", version: "v1", plural: "tokenreviews")
  /// A projected token has about 1 KiB.
  static let maximumTokenBytes = 8 << 10
  private static let accountPrefix = "system:serviceaccount:"
  private static let extraPrefix = "authentication.kubernetes.io/"

  /// Whose token it is.
  struct Proof: Hashable, Sendable {
    var namespace: String
    var serviceAccount: String
    var pod: String
    var podUID: String
    /// Servers from 1.32 on say it; empty: not said.
    var node: String
  }

  /// Whether a text is a token at all: three parts of base64url (RFC 7515 §7.1). Others aren't worth a request.
  static func isToken(_ text: String) -> Bool {
    guard (16...maximumTokenBytes).contains(text.utf8.count) else { return false }
    let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    return parts.count == 3
      && parts.allSatisfy { part in
        !part.isEmpty
          && part.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
              UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
              true
            default: false
            }
          }
      }
  }

  static func request(_ token: String, audience: String) -> JSONNode {
    [
      "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
      "spec": ["token": .text(token), "audiences": [.text(audience)]],
    ]
  }

  /// - Throws: why the answer proves nothing.
  static func proof(in answer: JSONNode, audience: String) throws(AttestationError) -> Proof {
    guard let status = answer["status"] else {
      throw AttestationError(.unavailable, "the API server's TokenReview has no status")
    }
    guard status["authenticated"] == .truth(true) else {
      let reason = status["error"]?.text.map { ": \($0.prefix(300))" } ?? ""
      throw AttestationError(.unauthenticated, "the API server doesn't accept the token\(reason)")
    }
    guard status["audiences"]?.elements.contains(.text(audience)) == true else {
      throw AttestationError(.unauthenticated, "the token isn't for the audience \(audience)")
    }
    let user = status["user"]
    let name = user?["username"]?.text ?? ""
    let parts = name.dropFirst(accountPrefix.count).split(separator: ":", omittingEmptySubsequences: false)
    guard name.hasPrefix(accountPrefix), parts.count == 2, parts.allSatisfy({ !$0.isEmpty }) else {
      throw AttestationError(.denied, "the token is of \(name.prefix(100)), which is no ServiceAccount")
    }
    func extra(_ key: String) -> String? {
      let values = user?["extra"]?[extraPrefix + key]?.elements ?? []
      return values.count == 1 ? values[0].text : nil
    }
    guard let pod = extra("pod-name"), let uid = extra("pod-uid"), !pod.isEmpty, !uid.isEmpty else {
      throw AttestationError(
        .unauthenticated, "the token of \(parts[0])/\(parts[1]) isn't bound to a pod; mount a projected one")
    }
    return Proof(
      namespace: String(parts[0]), serviceAccount: String(parts[1]), pod: pod, podUID: uid,
      node: extra("node-name") ?? "")
  }

  /// The node of the pod that a token is bound to.
  /// - Parameter pod: as the API server has it now; nil: it has none of that name.
  static func node(of proof: Proof, pod: JSONNode?) throws(AttestationError) -> String {
    let label = "\(proof.namespace)/\(proof.pod)"
    guard let pod, pod["metadata"]?["uid"]?.text == proof.podUID else {
      throw AttestationError(.unauthenticated, "the token's pod \(label) is gone")
    }
    guard pod["metadata"]?["deletionTimestamp"] == nil else {
      throw AttestationError(.unauthenticated, "the token's pod \(label) is being deleted")
    }
    let phase = pod["status"]?["phase"]?.text
    guard phase != "Succeeded", phase != "Failed" else {
      throw AttestationError(.unauthenticated, "the token's pod \(label) has ended")
    }
    guard let node = pod["spec"]?["nodeName"]?.text, !node.isEmpty else {
      throw AttestationError(.unavailable, "the token's pod \(label) isn't bound to a node")
    }
    guard pod["spec"]?["serviceAccountName"]?.text == proof.serviceAccount else {
      throw AttestationError(.denied, "the token's pod \(label) has another ServiceAccount than the token")
    }
    guard proof.node.isEmpty || proof.node == node else {
      throw AttestationError(.denied, "the token is bound to node \(proof.node), and its pod \(label) to \(node)")
    }
    return node
  }
}
