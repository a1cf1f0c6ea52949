import KubernetesAPI

/// Which nodes have an agent, as its DaemonSet chooses them, and which of them are ready.
enum AgentNodes {
  /// `disabled` leaves a node out.
  static let label = "weft.dev/agent"
  /// Nodes with one of these have none: what is no machine, and what is left out. As deploy/base/agent/daemonset.yaml says it.
  static let exclusions = [
    (key: "type", value: "virtual-kubelet"), (key: "eks.amazonaws.com/compute-type", value: "fargate"),
    (key: label, value: "disabled"),
  ]
  /// Where a DaemonSet says it.
  static let terms = [
    "spec", "template", "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution",
    "nodeSelectorTerms",
  ]

  static func isLeftOut(_ node: JSONNode) -> Bool { exclusions.contains { node.label($0.key) == $0.value } }

  /// Its kubelet says that it isn't ready, or nothing any more. One that has just come hasn't said anything yet.
  static func isUnready(_ node: JSONNode) -> Bool {
    guard let readiness = readiness(node) else { return false }
    return readiness["status"]?.text != "True"
  }

  static func readiness(_ node: JSONNode) -> JSONNode? {
    node["status"]?["conditions"]?.elements.first { $0["type"]?.text == "Ready" }
  }

  /// The names in a sentence, ten of them.
  static func list(_ names: some Collection<String>) -> String {
    let shown = names.sorted().prefix(10).map(Text.printable).joined(separator: ", ")
    return names.count > 10 ? "\(shown) and \(names.count - 10) more" : shown
  }

  /// What is said of nodes that are left out; nil: there are none.
  static func remark(leftOut names: [String]) -> String? {
    guard !names.isEmpty else { return nil }
    let count = names.count == 1 ? "1 node" : "\(names.count) nodes"
    return "\(count) without an agent by choice: \(list(names)); pods there need stubs"
  }
}
