import Foundation
import Identity
import KubernetesAPI
import MeshModel

/// The CA as a Secret, and the roots as a ConfigMap: what stands in them. Pure.
enum AuthoritySecret {
  static let name = "weft-ca"
  static let rootsName = "weft-roots"
  static let secrets = KubernetesResource(version: "v1", plural: "secrets")
  static let configMaps = KubernetesResource(version: "v1", plural: "configmaps")
  private static let labels: JSONNode = ["app.kubernetes.io/part-of": "weft"]

  static func object(_ material: AuthorityMaterial, namespace: String) -> JSONNode {
    var data: [JSONNode.Member] = [
      .init(key: "ca.key", value: encoded(material.keyPEM)), .init(key: "ca.pem", value: encoded(material.chainPEM)),
    ]
    // What the chain doesn't hold: of an intermediate all roots, of a root those beside it.
    let further = material.furtherRootsPEM
    if !further.isEmpty { data.append(.init(key: "roots.pem", value: encoded(further))) }
    return [
      "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
      "metadata": ["name": .text(name), "namespace": .text(namespace), "labels": labels], "data": .object(data),
    ]
  }

  /// - Throws: what is wrong with it and what to do, without any of its content.
  static func material(
    _ secret: JSONNode, trustDomain: TrustDomain, namespace: String, now: Date
  ) throws(IdentityError) -> AuthorityMaterial {
    let what = "the Secret \(namespace)/\(name)"
    let data = secret["data"]
    func value(_ names: [String]) throws(IdentityError) -> String? {
      for name in names { if let text = try text(data?[name], name, what) { return text } }
      return nil
    }
    guard let key = try value(Self.keyNames), let chain = try value(Self.chainNames) else {
      throw IdentityError(
        .invalid, "\(what) has no ca.key or no ca.pem; put both there, or delete it so that a new CA is made")
    }
    return try AuthorityMaterial(
      keyPEM: key, chainPEM: chain, rootsPEM: value(Self.rootsNames), trustDomain: trustDomain, what: what, now: now)
  }

  /// Weft's own names, and those of a `kubernetes.io/tls` Secret as cert-manager writes it.
  private static let keyNames = ["ca.key", "tls.key"]
  private static let chainNames = ["ca.pem", "tls.crt"]
  private static let rootsNames = ["roots.pem", "ca.crt"]

  static func roots(_ bundle: TrustBundle, namespace: String) -> JSONNode {
    [
      "apiVersion": "v1", "kind": "ConfigMap",
      "metadata": ["name": .text(rootsName), "namespace": .text(namespace), "labels": labels],
      "data": ["ca.pem": .text(bundle.pem)],
    ]
  }

  private static func encoded(_ text: String) -> JSONNode { .text(Data(text.utf8).base64EncodedString()) }

  /// nil: it isn't there, or empty.
  private static func text(_ node: JSONNode?, _ key: String, _ what: String) throws(IdentityError) -> String? {
    guard let node, node != .text("") else { return nil }
    guard let base64 = node.text, let data = Data(base64Encoded: base64), data.count <= TrustBundle.maximumBytes,
      let text = String(data: data, encoding: .utf8)
    else { throw IdentityError(.invalid, "\(what): \(key) is not base64 of text of at most 256 KiB") }
    return text.allSatisfy(\.isWhitespace) ? nil : text
  }
}
