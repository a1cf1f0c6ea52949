import Foundation
import Injection
import KubernetesAPI

/// The API server's question about a new object, and the answer (admission.k8s.io/v1; v1beta1 has the same fields). Pure.
enum AdmissionReview {
  struct Request: Hashable, Sendable {
    /// Of the group admission.k8s.io: the answer is in the same.
    var version: String
    var uid: String
    var namespace: String
    /// nil: it isn't a Pod that is to be created.
    var pod: JSONNode?
  }

  struct Answer: Hashable, Sendable {
    var steps: [PatchStep] = []
    var warnings: [String] = []
    /// Why it is refused; nil: it isn't.
    var refusal: String?
  }

  /// Characters of one warning: the API server cuts longer ones.
  static let maximumWarning = 256

  /// - Throws: `ControlPlaneError`, where the bytes are no review that can be answered.
  static func read(_ bytes: some Collection<UInt8>) throws(ControlPlaneError) -> Request {
    let review: JSONNode
    do throws(JSONProblem) {
      review = try JSONReader.read(bytes)
    } catch {
      throw ControlPlaneError("the AdmissionReview can't be read: \(error)")
    }
    guard review["kind"]?.text == "AdmissionReview", let version = review["apiVersion"]?.text,
      ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"].contains(version)
    else { throw ControlPlaneError("what was sent is no AdmissionReview of admission.k8s.io/v1 or v1beta1") }
    guard let request = review["request"], let uid = request["uid"]?.text, (1...256).contains(uid.utf8.count) else {
      throw ControlPlaneError("the AdmissionReview has no request with a uid")
    }
    let isPod =
      request["operation"]?.text == "CREATE" && request["kind"]?["kind"]?.text == "Pod"
      && request["kind"]?["group"]?.text ?? "" == "" && request["subResource"]?.text ?? "" == ""
    return Request(
      version: version, uid: uid, namespace: request["namespace"]?.text ?? "", pod: isPod ? request["object"] : nil)
  }

  static func answer(_ request: Request, _ answer: Answer) -> JSONNode {
    var response: [JSONNode.Member] = [
      .init(key: "uid", value: .text(request.uid)), .init(key: "allowed", value: .truth(answer.refusal == nil)),
    ]
    if let refusal = answer.refusal {
      response.append(
        .init(
          key: "status",
          value: ["code": 422, "reason": "Invalid", "message": .text("weft: \(refusal)"), "status": "Failure"]))
    } else if !answer.steps.isEmpty {
      let patch = Data(JSONNode.array(answer.steps.map(\.json)).bytes).base64EncodedString()
      response.append(.init(key: "patchType", value: "JSONPatch"))
      response.append(.init(key: "patch", value: .text(patch)))
    }
    if !answer.warnings.isEmpty {
      let warnings = answer.warnings.map { JSONNode.text(String("weft: \($0)".prefix(maximumWarning))) }
      response.append(.init(key: "warnings", value: .array(warnings)))
    }
    return [
      "apiVersion": .text(request.version), "kind": "AdmissionReview", "response": .object(response),
    ]
  }
}

extension JSONNode {
  /// A member's name that stands twice in one object, somewhere: readers differ in which of them they take.
  var duplicatedName: String? {
    switch self {
    case .array(let elements): return elements.lazy.compactMap(\.duplicatedName).first
    case .object(let members):
      var names: Set<String> = []
      for member in members where !names.insert(member.key).inserted { return member.key }
      return members.lazy.compactMap(\.value.duplicatedName).first
    default: return nil
    }
  }
}
