import Foundation

/// Starts the mesh's own programs with the flags that the lab's places give, and waits for them.
enum Mesh {
  static let readySeconds = 15.0
  static let discoveryPort = 15010
  static let joinPort = 15012
  static let controlPorts = [discoveryPort, joinPort].map { PodManifest.Port(number: UInt16($0), isUDP: false) }

  static func checkPrograms() throws {
    for name in ["weft-control", "weft-agent", "weft-proxy"] { _ = try Programs.path(name) }
  }

  /// bpffs where it isn't mounted yet. It stays: other programs pin there too.
  static func mountBPF() throws {
    let mounts = Files.text("/proc/self/mounts") ?? ""
    let isMounted = mounts.split(separator: "\n").contains { line in
      let fields = line.split(separator: " ")
      return fields.count > 2 && fields[1] == Layout.bpffsMount && fields[2] == "bpf"
    }
    if isMounted { return }
    guard mount("bpf", Layout.bpffsMount, "bpf", 0, nil) == 0 else {
      throw LabError("\(Layout.bpffsMount): the BPF filesystem can't be mounted: \(Errno.text(errno))")
    }
  }

  /// The environment of the lab's own, so that settings such as WEFT_BPF_OBJECT reach the programs.
  static var environment: [String] { ProcessInfo.processInfo.environment.map { "\($0.key)=\($0.value)" } }
}

extension LabMaker {
  // MARK: Starting

  mutating func startControl() throws {
    try Files.makeFolder(layout.controlState, mode: 0o700)
    try Cgroup.make(layout.linkCgroup)
    try writeTokens()
    var arguments = [
      "--config", layout.config, "--state-dir", layout.controlState, "--advertise", AddressPlan.linkV4,
      "--join-tokens", layout.joinTokens,
    ]
    if state.hasIPv6 { arguments += ["--advertise", AddressPlan.linkV6] }
    if let lifetime = state.options.certificateLifetime { arguments += ["--certificate-lifetime", lifetime] }
    var launch = Launch(
      path: try Programs.path("weft-control"), arguments: arguments + state.options.controlArguments,
      environment: Mesh.environment)
    launch.networkNamespace = layout.namespacePath(layout.linkNamespace)
    launch.cgroup = layout.linkCgroup
    launch.withoutPrivileges = true
    let process = try spawn(launch, log: layout.controlLog)
    state.control = process
    try save()
    let root = "\(layout.controlState)/ca.pem"
    let isReady = try Waiting.poll(seconds: Mesh.readySeconds) {
      if let status = process.reap() { throw LabError.withLog("weft-control \(status)", log: layout.controlLog) }
      guard process.isRunning else { throw LabError.withLog("weft-control ended", log: layout.controlLog) }
      let ports = ListeningPorts(pid: process.pid)
      return Files.exists(root) && Mesh.controlPorts.allSatisfy { ports.contains($0) }
    }
    guard isReady else {
      throw LabError.withLog(
        "weft-control didn't write \(root) and listen on \(Mesh.discoveryPort) and \(Mesh.joinPort) within"
          + " \(Int(Mesh.readySeconds)) s", log: layout.controlLog)
    }
  }

  /// One token per node, kept over restarts.
  private func writeTokens() throws {
    var lines = ""
    for node in state.nodes {
      let path = layout.agentToken(node.name)
      if !Files.exists(path) {
        let token = (0..<16).map { _ in String(UInt8.random(in: 16...255), radix: 16) }.joined()
        try Files.writeAtomically("\(token)\n", to: path, mode: 0o600)
      }
      lines += "\(node.name) \(Files.text(path) ?? "")"
    }
    try Files.writeAtomically(lines, to: layout.joinTokens, mode: 0o600)
  }

  mutating func startAgent(_ name: String) throws {
    guard let index = state.nodes.firstIndex(where: { $0.name == name }) else { return }
    let node = state.nodes[index]
    try Mesh.mountBPF()
    try writeTokens()
    for cgroup in [layout.agentCgroup(name), layout.proxyCgroup(name)] { try Cgroup.make(cgroup) }
    var arguments = [
      "--node", name, "--control", "\(AddressPlan.linkV4):\(Mesh.discoveryPort)",
      "--join", "\(AddressPlan.linkV4):\(Mesh.joinPort)", "--join-token-file", layout.agentToken(name),
      "--ca-file", "\(layout.controlState)/ca.pem", "--state-dir", layout.agentState(name),
      "--run-dir", layout.agentRun(name), "--pods-dir", layout.agentPods(name), "--bpffs", node.bpf,
      "--cgroup-root", node.cgroup, "--cgroup", layout.agentCgroup(name), "--proxy-cgroup", layout.proxyCgroup(name),
    ]
    if let workers = state.options.proxyWorkers { arguments += ["--proxy-workers", String(workers)] }
    var launch = Launch(
      path: try Programs.path("weft-agent"), arguments: arguments, environment: Mesh.environment)
    launch.networkNamespace = layout.namespacePath(node.networkNamespace)
    launch.cgroup = layout.agentCgroup(name)
    state.nodes[index].agent = try spawn(launch, log: layout.agentLog(name))
    try save()
  }

  private func spawn(_ launch: Launch, log path: String) throws -> ProcessRecord {
    var launch = launch
    try Files.makeFolder(layout.logs)
    let log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard log >= 0 else { throw LabError("\(path): can't be written: \(Errno.text(errno))") }
    defer { close(log) }
    launch.standardOutput = log
    launch.standardError = log
    let pid = try launch.spawn()
    guard let record = ProcessRecord(pid: pid) else {
      throw LabError.withLog("\(launch.path) ended at once", log: path)
    }
    return record
  }

  // MARK: Waiting

  /// Until each agent answers, has a running proxy and, unless that is away, is connected to the control plane.
  func waitForAgents(_ names: [String], connected: Bool = true) throws {
    var waiting = names
    var last: [String: String] = [:]
    let allReady = try Waiting.poll(seconds: Mesh.readySeconds) {
      waiting = try waiting.filter { name in
        try checkAgent(name)
        guard let status = AdminClient(socket: layout.agentSocket(name)).get("/v1/status", as: AgentStatus.self) else {
          last[name] = "it doesn't answer on \(layout.agentSocket(name))"
          return true
        }
        if status.proxy.state != "running" {
          last[name] = "its proxy is \(status.proxy.state)"
          return true
        }
        guard connected, !status.control.connected else { return false }
        last[name] = "it isn't connected to the control plane" + (status.control.lastError.map { ": \($0)" } ?? "")
        return true
      }
      return waiting.isEmpty
    }
    guard !allReady, let name = waiting.first else { return }
    throw LabError.withLog(
      "the agent of node \(name) isn't ready after \(Int(Mesh.readySeconds)) s: \(last[name] ?? "unknown")",
      log: layout.agentLog(name))
  }

  /// Until each pod's agent has enrolled it.
  func waitForEnrolment(_ pods: [LabState.Pod]) throws {
    var waiting = pods
    var last: [PodName: String] = [:]
    let allEnrolled = try Waiting.poll(seconds: Mesh.readySeconds) {
      for (node, group) in Dictionary(grouping: waiting, by: \.node) {
        try checkAgent(node)
        let answer = AdminClient(socket: layout.agentSocket(node)).get("/v1/workloads", as: AgentWorkloads.self)
        let workloads = Dictionary((answer?.workloads ?? []).map { ($0.uid, $0) }, uniquingKeysWith: { $1 })
        for pod in group {
          guard let workload = workloads[pod.id.description] else {
            last[pod.id] = answer == nil ? "its agent doesn't answer" : "its agent doesn't know it"
            continue
          }
          last[pod.id] = workload.state + (workload.reason.map { $0.isEmpty ? "" : " (\($0))" } ?? "")
          if workload.state == "enrolled" { waiting.removeAll { $0.id == pod.id } }
        }
      }
      return waiting.isEmpty
    }
    guard !allEnrolled, let pod = waiting.first else { return }
    throw LabError.withLog(
      "pod \(pod.id) isn't enrolled after \(Int(Mesh.readySeconds)) s: \(last[pod.id] ?? "unknown")",
      log: layout.agentLog(pod.node))
  }

  private func checkAgent(_ name: String) throws {
    guard let agent = try state.node(name).agent else { throw LabError("the agent of node \(name) isn't started") }
    if let status = agent.reap() {
      throw LabError.withLog("the agent of node \(name) \(status)", log: layout.agentLog(name))
    }
    guard agent.isRunning else {
      throw LabError.withLog("the agent of node \(name) ended", log: layout.agentLog(name))
    }
  }
}
