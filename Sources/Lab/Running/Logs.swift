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
    if state.cluster != nil { return clusterLogs(layout, of: what, node: node, namespace: namespace) }
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

  /// Of a cluster: each program's, and of each pod every container's, also of pods that are gone.
  private static func clusterLogs(
    _ layout: Layout, of what: String?, node: String?, namespace: String?
  ) -> [(title: String, path: String)] {
    var files: [(title: String, path: String)] = []
    for name in Files.names(in: layout.logs) where name.hasSuffix(".log") {
      files.append((String(name.dropLast(4)), "\(layout.logs)/\(name)"))
    }
    for folder in Files.names(in: layout.podLogs) {
      // NAMESPACE_NAME_UID
      let parts = folder.split(separator: "_").map(String.init)
      guard parts.count == 3, namespace == nil || parts[0] == namespace else { continue }
      for container in Files.names(in: "\(layout.podLogs)/\(folder)") {
        for log in Files.names(in: "\(layout.podLogs)/\(folder)/\(container)") {
          files.append(("\(parts[0])/\(parts[1])/\(container)", "\(layout.podLogs)/\(folder)/\(container)/\(log)"))
        }
      }
    }
    guard let what else { return files }
    let container = ["agent", "proxy"].contains(what) ? "weft-agent" : what == "control" ? "weft-control" : what
    return files.filter { $0.title.split(separator: "/").contains(Substring(container)) }
  }
}
