import KubernetesAPI
import MeshModel

/// A pod as a person names it: `NAME`, `NAMESPACE/NAME`, `deploy/NAME`, `NAMESPACE/deploy/NAME`, and `ds`, `sts`, `job`
/// and `rs` alike.
struct PodReference: Equatable, Sendable {
  enum Owner: String, CaseIterable, Sendable {
    case deployment = "Deployment"
    case daemonSet = "DaemonSet"
    case statefulSet = "StatefulSet"
    case replicaSet = "ReplicaSet"
    case job = "Job"

    init?(word: Substring) {
      switch word.lowercased() {
      case "deploy", "deployment", "deployments": self = .deployment
      case "ds", "daemonset", "daemonsets": self = .daemonSet
      case "sts", "statefulset", "statefulsets": self = .statefulSet
      case "rs", "replicaset", "replicasets": self = .replicaSet
      case "job", "jobs": self = .job
      default: return nil
      }
    }
  }

  /// nil: the one that the options or the context say.
  var namespace: String?
  /// nil: the pod itself.
  var owner: Owner?
  var name: String

  /// nil where it is none of the forms.
  init?(_ text: String) {
    var parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard (1...3).contains(parts.count), let last = parts.popLast(), DNSName.isSubdomain(String(last)) else {
      return nil
    }
    name = String(last)
    if let word = parts.last, let owner = Owner(word: word) {
      self.owner = owner
      parts.removeLast()
    } else if let word = parts.last, ["pod", "pods", "po"].contains(word) {
      parts.removeLast()
    }
    guard let first = parts.popLast() else { return }
    guard parts.isEmpty, DNSName.isLabel(String(first)) else { return nil }
    namespace = String(first)
  }

  /// Whether it is meant, of the pods of its namespace. A Deployment's pods are its ReplicaSets', whose names are its own
  /// and the hash of the pods' template.
  func matches(_ pod: JSONNode) -> Bool {
    let metadata = pod["metadata"]
    guard let owner else { return metadata?["name"]?.text == name }
    let owners = metadata?["ownerReferences"]?.elements ?? []
    guard owner == .deployment else {
      return owners.contains { $0["kind"]?.text == owner.rawValue && $0["name"]?.text == name }
    }
    guard let hash = metadata?["labels"]?["pod-template-hash"]?.text else { return false }
    return owners.contains { $0["kind"]?.text == "ReplicaSet" && $0["name"]?.text == "\(name)-\(hash)" }
  }
}
