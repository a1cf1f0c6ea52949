import CLinux
import Foundation

extension Lab {
  /// Makes a lab whose pods a real Kubernetes control plane decides, and waits until its nodes are ready and every object
  /// of the folder is applied.
  /// - Throws: `LabError`; for bad input before anything is made.
  public static func upKubernetes(_ options: UpOptions, progress: Progress) throws -> LabState {
    try LabMaker.checkMachine()
    try ClusterProgram.checkAll()
    let input = try ClusterInput(directory: try absolute(options.directory))
    return try make(options, input: input.lab, progress: progress) { maker in
      try maker.makeCluster(input)
    }
  }

  /// Starts or ends the API server of a lab.
  /// - Returns: a line that says what was done.
  public static func act(
    _ action: ProgramAction, on program: ClusterProgram, lab name: LabName, progress: Progress
  ) throws -> String {
    try changeCluster(name, progress: progress) { maker in
      guard let process = maker.state.cluster?[program] else {
        throw LabError("lab \"\(name)\" runs without Kubernetes; make it with weft-lab up --kubernetes DIR")
      }
      switch action {
      case .kill, .stop:
        guard process.isRunning else { throw LabError("\(program.rawValue) doesn't run") }
        process.signal(action == .kill ? SIGKILL : SIGTERM)
        guard process.waitForEnd(seconds: stopSeconds) else {
          throw LabError("\(program.rawValue) (pid \(process.pid)) didn't end in \(Int(stopSeconds)) s")
        }
        return "\(program.rawValue): \(action == .kill ? "killed" : "stopped") (pid \(process.pid))"
      case .start:
        if process.isRunning { return "\(program.rawValue): runs already (pid \(process.pid))" }
        try maker.start(program)
        if program == .api { try maker.waitForServer() }
        return "\(program.rawValue): started (pid \(maker.state.cluster?[program]?.pid ?? 0))"
      }
    }
  }

  /// The administrator's kubeconfig; it leads to the API server from inside the lab's link namespace.
  public static func kubeconfig(_ name: LabName) throws -> String { try layout(name).kubeconfig }

  private static func changeCluster<T>(
    _ name: LabName, progress: Progress, _ body: (inout LabMaker) throws -> T
  ) throws -> T {
    try LabMaker.checkMachine()
    weft_lab_remember_interrupts()
    let layout = try layout(name)
    return try withExtendedLifetime(try LabLock(layout)) {
      let state = try LabState.load(layout)
      var maker = LabMaker(layout: layout, progress: progress, state: state, input: try LabInput(nodesOf: state))
      return try body(&maker)
    }
  }

  /// Becomes kubectl in the lab's network, as the administrator.
  /// - Throws: `LabError`; returns never otherwise.
  public static func kubectl(_ name: LabName, arguments: [String]) throws -> Never {
    let layout = try layout(name)
    guard try LabState.load(layout).cluster != nil else {
      throw LabError("lab \"\(name)\" runs without Kubernetes; make it with weft-lab up --kubernetes DIR")
    }
    guard let path = Commands.find("kubectl", searchPath: Commands.searchPath, directory: "/") else {
      throw LabError("kubectl isn't on this machine; install it")
    }
    var launch = Launch(
      path: path, arguments: ["--kubeconfig", layout.kubeconfig] + arguments, environment: Mesh.environment)
    launch.networkNamespace = layout.namespacePath(layout.linkNamespace)
    try launch.execute()
  }
}

extension LabMaker {
  static let serverSeconds = 60.0
  static let applySeconds = 30.0
  static let nodeSeconds = 60.0

  fileprivate mutating func makeCluster(_ cluster: ClusterInput) throws {
    plan()
    state.cluster = LabState.Cluster()
    for index in state.nodes.indices {
      let key = Manifest.Key(kind: "Node", namespace: "", name: state.nodes[index].name)
      state.nodes[index].runtime = try input.manifests[key].map { try LabState.NodeRuntime($0) }
    }
    try Files.makeFolder(layout.run)
    try save()
    progress.step("making \(state.nodes.count) nodes")
    try makeLink()
    try Cgroup.make(layout.linkCgroup)
    try makeNetwork(of: state.nodes)
    try makeServiceRoutes()
    try Files.makeFolder(layout.podLogs)
    try Mesh.mountBPF()
    for node in state.nodes {
      try Cgroup.make(layout.nodeSystemCgroup(node.name))
      try Files.makeFolder(layout.nodeRoot(node.name))
      try Files.makeFolder(node.bpf)
    }
    try mountPods()
    progress.step("making certificates")
    try Certificates(layout: layout).make(nodes: state.nodes)
    try Files.writeAtomically([UInt8](try JSONEncoder().encode(cluster.images)), to: layout.images)
    progress.step("starting etcd and the API server")
    try start(.etcd)
    try start(.api)
    try waitForServer()
    progress.step("starting controllers, scheduler and kubelet")
    for program in [ClusterProgram.controllerManager, .scheduler, .kubelet] { try start(program) }
    progress.step("applying \(cluster.objects.count) files")
    try apply(cluster)
    progress.step("waiting for \(state.nodes.count) nodes")
    try waitForNodes()
    state.isReady = true
    try save()
  }

  /// Nodes have no default route: ClusterIPs need one until they are rewritten.
  private func makeServiceRoutes() throws {
    try Tool.run(
      "ip", ["-n", layout.linkNamespace, "route", "replace", ClusterPlan.serviceRange, "dev", "br0"])
    for node in state.nodes {
      try Tool.run(
        "ip",
        [
          "-n", node.networkNamespace, "route", "replace", ClusterPlan.serviceRange, "via", AddressPlan.linkV4, "dev",
          "eth0",
        ])
    }
  }

  private func mountPods() throws {
    try Files.makeFolder(layout.podsMount)
    guard mount("weft-lab", layout.podsMount, "tmpfs", 0, "mode=0755,size=2g") == 0 else {
      throw LabError("\(layout.podsMount): a file system in memory can't be mounted: \(Errno.text(errno))")
    }
  }

  /// Starts a program in the link's namespace.
  mutating func start(_ program: ClusterProgram) throws {
    var launch = Launch(
      path: try program.path(), arguments: program.arguments(layout), environment: Mesh.environment)
    launch.networkNamespace = layout.namespacePath(layout.linkNamespace)
    launch.cgroup = layout.linkCgroup
    // Go's programs write what they were given no place for into their working folder.
    launch.directory = layout.cluster
    let log = open(layout.clusterLog(program.rawValue), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard log >= 0 else {
      throw LabError("\(layout.clusterLog(program.rawValue)): can't be written: \(Errno.text(errno))")
    }
    defer { close(log) }
    launch.standardOutput = log
    launch.standardError = log
    state.cluster?[program] = ProcessRecord(pid: try launch.spawn())
    try save()
  }

  /// Until the API server says that it is ready.
  func waitForServer() throws {
    var answer = ""
    let isReady = try Waiting.poll(seconds: Self.serverSeconds) {
      for program in [ClusterProgram.etcd, .api] { try check(program) }
      guard let api = state.cluster?[.api],
        ListeningPorts(pid: api.pid).contains(PodManifest.Port(number: UInt16(ClusterPlan.apiPort), isUDP: false))
      else { return false }
      do {
        answer = try kubectl(["get", "--raw", "/readyz"])
      } catch {
        answer = "\(error)"
      }
      if answer == "ok" { return true }
      Waiting.sleep(seconds: 0.1)
      return false
    }
    guard !isReady else { return }
    throw LabError.withLog(
      "the API server isn't ready after \(Int(Self.serverSeconds)) s: \(answer)",
      log: layout.clusterLog(ClusterProgram.api.rawValue))
  }

  private func check(_ program: ClusterProgram) throws {
    guard let process = state.cluster?[program] else { return }
    let log = layout.clusterLog(program.rawValue)
    if let end = process.reap() { throw LabError.withLog("\(program.rawValue) \(end)", log: log) }
    guard process.isRunning else { throw LabError.withLog("\(program.rawValue) ended", log: log) }
  }

  @discardableResult
  private func kubectl(_ arguments: [String]) throws -> String {
    try Tool.run(
      "kubectl", ["--kubeconfig", layout.kubeconfig, "--cache-dir", "\(layout.cluster)/kubectl"] + arguments,
      networkNamespace: layout.namespacePath(layout.linkNamespace))
  }

  /// Again and again: a Namespace's ServiceAccount, or a kind that was just defined, comes a moment later.
  private func apply(_ cluster: ClusterInput) throws {
    try Files.makeFolder(layout.clusterObjects, mode: 0o700)
    try Files.writeAtomically(DNSRecords.serviceManifest, to: "\(layout.clusterObjects)/00-lab-dns.yaml", mode: 0o600)
    for (file, text) in cluster.objects {
      // kubectl reads by these endings; the text is YAML whatever it was.
      try Files.writeAtomically(text, to: "\(layout.clusterObjects)/10-\(file).yaml", mode: 0o600)
    }
    var failure = ""
    let isApplied = try Waiting.poll(seconds: Self.applySeconds) {
      do {
        try kubectl([
          "apply", "--server-side", "--force-conflicts", "--validate=false", "--field-manager=weft-lab", "-f",
          layout.clusterObjects,
        ])
        return true
      } catch {
        failure = "\(error)"
        try check(.kubelet)
        Waiting.sleep(seconds: 0.2)
        return false
      }
    }
    guard isApplied else { throw LabError("the objects of \(state.directory) can't be applied: \(failure)") }
  }

  private func waitForNodes() throws {
    do {
      try kubectl(
        ["wait", "--for=condition=Ready", "--timeout=\(Int(Self.nodeSeconds))s"]
          + state.nodes.map { "node/\($0.name)" })
    } catch {
      try Waiting.checkInterrupt()
      throw LabError.withLog("\(error)", log: layout.clusterLog(ClusterProgram.kubelet.rawValue))
    }
  }
}
