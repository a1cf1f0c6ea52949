import CLinux
import Foundation

/// Making a lab.
public struct UpOptions: Sendable {
  public var directory: String
  public var name: LabName
  /// Starts control plane and agents, not pods only.
  public var withMesh = true
  public var mesh = MeshOptions()
  /// Pods are decided by a Kubernetes control plane.
  public var isKubernetes = false

  public init(directory: String, name: LabName) {
    self.directory = directory
    self.name = name
  }
}

extension Lab {
  /// Makes a lab and waits until it is ready; removes what a crashed one of the same name left.
  ///
  /// SIGINT and SIGTERM end it as a failure does: everything made so far is removed.
  /// - Throws: `LabError`; for bad input before anything is made.
  public static func up(_ options: UpOptions, progress: Progress) throws -> LabState {
    try LabMaker.checkMachine()
    let input = try LabInput(
      directory: try absolute(options.directory), manifests: ManifestFiles.readDirectory(options.directory))
    if options.withMesh { try Mesh.checkPrograms() }
    return try make(options, input: input, progress: progress) { maker in try maker.make() }
  }

  static func absolute(_ directory: String) throws -> String {
    guard let resolved = realpath(directory, nil) else { throw LabError("\(directory): \(Errno.text(errno))") }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  /// Runs `body` on a new lab under its lock; removes what was made where it fails.
  static func make(
    _ options: UpOptions, input: LabInput, progress: Progress, _ body: (inout LabMaker) throws -> Void
  ) throws -> LabState {
    let layout = Layout(name: options.name, cgroupRoot: try Cgroup.mountPoint())
    weft_lab_remember_interrupts()

    let lock = try LabLock(layout)
    if let present = try? LabState.load(layout), present.isReady, !Cgroup.allProcesses(layout.cgroup).isEmpty {
      throw LabError(
        "lab \"\(options.name)\" is up already. Remove it (weft-lab down --name \(options.name)), or choose another --name."
      )
    }
    if Teardown.hasTraces(layout) {
      progress.step("removing what a crashed lab left")
      try Teardown.remove(layout)
    }
    var maker = LabMaker(
      layout: layout, progress: progress,
      state: LabState(
        name: options.name.description, directory: input.directory, createdAt: Date(), isMeshed: options.withMesh,
        // A single-stack cluster: the pods' status names one address.
        hasIPv6: !options.isKubernetes && Files.exists("/proc/sys/net/ipv6"), options: options.mesh),
      input: input)
    do {
      try body(&maker)
      progress.end()
      return maker.state
    } catch {
      progress.note("it failed; removing what was made")
      do { try Teardown.remove(layout) } catch let leftover { progress.note("\(leftover)") }
      lock.removeFile()
      rmdir(Layout.runRoot)
      throw error
    }
  }
}

extension LabMaker {
  fileprivate mutating func make() throws {
    plan()
    try Files.makeFolder(layout.run)
    try save()
    progress.step("making \(state.nodes.count) nodes and \(state.pods.count) pods")
    try makeLink()
    try Cgroup.make(layout.linkCgroup)
    try makeNodes(state.nodes)
    try makeNetwork(of: state.pods)
    try makeFolders(of: state.pods)
    try writeConfiguration(input.manifests.keys)
    for pod in state.pods { try announce(pod) }
    try Waiting.checkInterrupt()
    let held = Set(state.isMeshed ? state.pods.filter(\.isMeshed).map(\.id) : [])
    if state.isMeshed {
      progress.step("starting the control plane")
      try startControl()
      progress.step("starting \(state.nodes.count) agents")
      for node in state.nodes { try startAgent(node.name) }
      try waitForAgents(state.nodes.map(\.name))
      reportRefusals()
      progress.step("enrolling \(held.count) pods")
      try waitForEnrolment(state.pods.filter { held.contains($0.id) })
    }
    progress.step("starting \(state.pods.count) pods")
    try startContainers(of: state.pods.map(\.id))
    state.isReady = true
    try save()
  }

  /// The control plane keeps what it can use of a folder: what it refused is said, and doesn't end the lab.
  private func reportRefusals() {
    for (key, reason) in waitForControl(Array(input.manifests.keys), after: nil).sorted(by: { $0.key < $1.key }) {
      progress.note("\(key) is refused by the control plane: \(reason)")
    }
  }

  func makeNodes(_ nodes: [LabState.Node]) throws {
    try makeNetwork(of: nodes)
    for node in nodes {
      try Cgroup.make("\(node.cgroup)/pods")
      for folder in [layout.agentState(node.name), layout.agentPods(node.name)] { try Files.makeFolder(folder) }
      try Files.makeFolder(layout.agentRun(node.name), mode: 0o755)
    }
    try Files.makeFolder(layout.logs)
  }
}
