import Foundation

extension Lab {
  /// The log files that `what` names: `agent`, `proxy` (which logs through its agent), `control`, a pod, or nil for all.
  /// - Returns: pairs of a title and a path; files that don't exist yet are left out.
  public static func logs(
    _ name: LabName, of what: String?, node: String?, namespace: String?
  ) throws -> [(title: String, path: String)] {
    let layout = try layout(name)
    let state = try LabState.load(layout)
    if let node { _ = try state.node(node) }
    let agents = state.nodes.filter { node == nil || $0.name == node }.map {
      (title: "agent of \($0.name)", path: layout.agentLog($0.name))
    }
    let control = (title: "control", path: layout.controlLog)
    let files: [(title: String, path: String)]
    switch what {
    case "agent", "proxy": files = agents
    case "control": files = [control]
    case let pod?:
      let pod = try state.pod(pod, namespace: namespace)
      files = [(pod.id.description, layout.podLog(pod.id))]
    case nil:
      files =
        [control] + agents
        + state.pods.filter { (node == nil || $0.node == node) && (namespace == nil || $0.id.namespace == namespace) }
        .map { ($0.id.description, layout.podLog($0.id)) }
    }
    return files.filter { Files.exists($0.path) }
  }
}
