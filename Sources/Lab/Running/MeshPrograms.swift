import Foundation

/// A program of the mesh that can be ended and started again while the lab runs.
public enum MeshProgram: String, Sendable, CaseIterable { case agent, proxy, control }

public enum ProgramAction: String, Sendable {
  /// SIGKILL.
  case kill
  /// SIGTERM, and its end awaited.
  case stop
  /// Again with the same flags, and readiness awaited.
  case start
}

extension Lab {
  static let stopSeconds = 20.0

  /// - Parameter node: nil means every node; the control plane has none.
  /// - Returns: a line for each process.
  public static func act(
    _ action: ProgramAction, on program: MeshProgram, node: String?, lab name: LabName, progress: Progress
  ) throws -> [String] {
    if let lines = try actInCluster(action, on: program, node: node, lab: name) { return lines }
    return try change(name, progress: progress) { maker in
      if let node { _ = try maker.state.node(node) }
      let nodes = maker.state.nodes.map(\.name).filter { node == nil || $0 == node }
      switch program {
      case .control:
        guard node == nil else { throw LabError("the control plane runs on no node; leave --node out") }
        return [try maker.actOnControl(action)]
      case .agent: return try maker.actOnAgents(action, nodes)
      case .proxy: return try nodes.map { try maker.actOnProxy(action, $0) }
      }
    }
  }
}

extension Lab {
  /// In a cluster the programs are containers: their kubelet starts them again.
  /// - Returns: nil where the lab has no cluster.
  private static func actInCluster(
    _ action: ProgramAction, on program: MeshProgram, node: String?, lab name: LabName
  ) throws -> [String]? {
    let state = try LabState.load(try layout(name))
    guard state.cluster != nil else { return nil }
    guard action != .start else { throw LabError("the kubelet starts what ends by itself") }
    var processes: [(title: String, process: ProcessRecord)] = []
    for member in state.nodes where node == nil || member.name == node {
      if program == .proxy {
        let pids = Cgroup.allProcesses(member.cgroup).filter { Files.text("/proc/\($0)/comm") == "weft-proxy\n" }
        processes += pids.compactMap { ProcessRecord(pid: $0) }.map { ("proxy of \(member.name)", $0) }
      } else {
        for pod in state.pods where pod.node == member.name {
          for container in pod.containers
          where container.name == "weft-\(program.rawValue)" && container.process.isRunning {
            processes.append(("\(container.name) of pod \(pod.id)", container.process))
          }
        }
      }
    }
    guard !processes.isEmpty else {
      throw LabError("no weft-\(program.rawValue) runs" + (node.map { " on node \($0)" } ?? ""))
    }
    return processes.map { entry in
      entry.process.signal(action == .kill ? SIGKILL : SIGTERM)
      return "\(entry.title): \(action == .kill ? "killed" : "asked to end") (pid \(entry.process.pid))"
    }
  }
}

extension LabMaker {
  fileprivate mutating func actOnControl(_ action: ProgramAction) throws -> String {
    switch action {
    case .start:
      if let control = state.control, control.isRunning { return "control: runs already (pid \(control.pid))" }
      try startControl()
      return "control: started (pid \(state.control?.pid ?? 0))"
    case .kill, .stop:
      guard let control = state.control, control.isRunning else { throw LabError("the control plane doesn't run") }
      return try end(control, by: action, "control", log: layout.controlLog)
    }
  }

  fileprivate mutating func actOnAgents(_ action: ProgramAction, _ nodes: [String]) throws -> [String] {
    var lines: [String] = []
    var started: [String] = []
    for name in nodes {
      let agent = try state.node(name).agent
      if action == .start {
        if let agent, agent.isRunning {
          lines.append("agent of \(name): runs already (pid \(agent.pid))")
          continue
        }
        try startAgent(name)
        started.append(name)
      } else {
        guard let agent, agent.isRunning else { throw LabError("the agent of node \(name) doesn't run") }
        lines.append(try end(agent, by: action, "agent of \(name)", log: layout.agentLog(name)))
      }
    }
    // An agent serves from its snapshot while the control plane is away.
    try waitForAgents(started, connected: state.control?.isRunning == true)
    for name in started { lines.append("agent of \(name): started (pid \(try state.node(name).agent?.pid ?? 0))") }
    return lines
  }

  fileprivate func actOnProxy(_ action: ProgramAction, _ node: String) throws -> String {
    if action == .start {
      // The agent supervises its proxy: there is only its restart to wait for.
      guard try state.node(node).agent?.isRunning == true else {
        throw LabError(
          "the proxy of node \(node) is started by its agent, which doesn't run: weft-lab start agent --node \(node)")
      }
      try waitForAgents([node], connected: false)
      return "proxy of \(node): runs (pid \(proxy(node)?.pid ?? 0))"
    }
    guard let proxy = proxy(node) else { throw LabError("node \(node) has no proxy running") }
    return try end(proxy, by: action, "proxy of \(node)", log: layout.agentLog(node))
  }

  /// The node's proxy: by the agent's word, or, with the agent away, by its cgroup.
  func proxy(_ node: String) -> ProcessRecord? {
    let inCgroup = Cgroup.allProcesses(layout.proxyCgroup(node))
    if let status = AdminClient(socket: layout.agentSocket(node)).get("/v1/status", as: AgentStatus.self),
      let pid = status.proxy.pid, let process = ProcessRecord(pid: pid), process.isRunning
    {
      return process
    }
    return inCgroup.lazy.compactMap { ProcessRecord(pid: $0) }.first { $0.isRunning }
  }

  private func end(
    _ process: ProcessRecord, by action: ProgramAction, _ name: String, log: String
  ) throws -> String {
    process.signal(action == .kill ? SIGKILL : SIGTERM)
    guard process.waitForEnd(seconds: Lab.stopSeconds) else {
      throw LabError.withLog("\(name) (pid \(process.pid)) didn't end in \(Int(Lab.stopSeconds)) s", log: log)
    }
    return "\(name): \(action == .kill ? "killed" : "stopped") (pid \(process.pid))"
  }
}
