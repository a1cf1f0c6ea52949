import KubernetesAPI

/// The pods in a document that `kubectl apply` takes: the Pod itself, or the template of a controller; each item of a List.
public enum WorkloadDocument {
  /// A pod, and where it stands.
  public struct Place: Hashable, Sendable {
    /// From the document's root.
    public var path: [String]
    /// `deployment/web`, for people.
    public var name: String
    public var namespace: String
  }

  public static func pods(in document: JSONNode) -> [Place] { pods(in: document, at: [], depth: 0) }

  private static func pods(in document: JSONNode, at path: [String], depth: Int) -> [Place] {
    guard let kind = document["kind"]?.text else { return [] }
    if kind.hasSuffix("List"), case .array(let items)? = document["items"], depth < 4 {
      return items.enumerated().flatMap {
        pods(in: $0.element, at: path + ["items", "\($0.offset)"], depth: depth + 1)
      }
    }
    guard let inner = template(kind), document.value(at: inner)?["spec"] != nil else { return [] }
    let metadata = document["metadata"]
    let name = metadata?["name"]?.text ?? metadata?["generateName"]?.text ?? "?"
    return [
      Place(
        path: path + inner, name: "\(kind.lowercased())/\(name)", namespace: metadata?["namespace"]?.text ?? "")
    ]
  }

  private static func template(_ kind: String) -> [String]? {
    switch kind {
    case "Pod": []
    case "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job": ["spec", "template"]
    case "CronJob": ["spec", "jobTemplate", "spec", "template"]
    case "PodTemplate": ["template"]
    default: nil
    }
  }
}

extension JSONNode {
  /// The value at a place; nil: there is none.
  public func value(at path: [String]) -> JSONNode? {
    path.reduce(self) { node, name in
      switch node {
      case .array(let elements)?: Int(name).flatMap { elements.indices.contains($0) ? elements[$0] : nil }
      case let node: node?[name]
      }
    }
  }
}
