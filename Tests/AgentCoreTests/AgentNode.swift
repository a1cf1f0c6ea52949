import CLinux
import Capture
import Discovery
import DiscoveryAPI
import Foundation
import Identity
import MeshModel
import Synchronization

@testable import AgentCore

/// A whole agent with the real proxy and the kernel's capture, and no control plane: it serves from what an agent
/// before it has left on disk. `close()` takes everything away.
final class AgentNode {
  private static let counter = Mutex(0)

  /// Capture needs root and a cgroup v2 hierarchy; the proxy has to be built.
  static let canRun: Bool = {
    var effective: UInt64 = 0
    guard geteuid() == 0, weft_thread_capabilities(&effective) == 0, effective >> 39 & 1 == 1 else { return false }
    return (try? CgroupTree.find()) != nil && access(proxyProgram, X_OK) == 0 && access(bpfObject, R_OK) == 0
  }()

  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path
  static let proxyProgram: String = {
    let own = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    // `swift test` runs a program of the toolchain's or the bundle itself: the build's folder is one of these.
    let places = [own.path] + CommandLine.arguments.map { URL(fileURLWithPath: $0).deletingLastPathComponent().path }
    return (places + [root + "/.build/debug"]).map { $0 + "/weft-proxy" }.first { access($0, X_OK) == 0 } ?? ""
  }()
  private static let bpfObject = root + "/bpf/build/weft.bpf.o"

  let folder: TemporaryFolder
  let namespace: NetworkNamespace
  private(set) var agent: Agent
  private var run: Task<Void, any Error>
  let cgroup: String
  private var home: String?
  let bpffs: String
  private let configuration: AgentConfiguration
  private let authority: CertificateAuthority

  /// Where the pods of the cgroup tree are; nil: they're announced by files.
  let tree: KubeTree?

  init(
    workloads: [ReceivedResource], services: [ReceivedResource] = [], keepsOnExit: Bool = false,
    inCgroups: Bool = false, adjust: (inout AgentConfiguration) -> Void = { _ in }
  ) throws {
    let number = Self.counter.withLock {
      $0 += 1
      return $0
    }
    let name = "weft-agent-test-\(getpid())-\(number)"
    folder = try TemporaryFolder()
    namespace = try NetworkNamespace()
    cgroup = "\(try CgroupTree.find().mountPoint)/\(name)"
    bpffs = "/sys/fs/bpf/\(name)"
    for path in [cgroup, cgroup + "/agent", cgroup + "/proxy", folder.path + "/run", folder.path + "/pods"] {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    authority = try CertificateAuthority(stateDirectory: folder.path + "/ca", trustDomain: .clusterLocal)
    let ca = try folder.write(authority.rootPEM, to: "ca.pem")
    let state = folder.path + "/state"
    try Self.leave(workloads, services, authority, in: state)
    // Nobody listens there.
    let nowhere = ControlEndpoint(host: "127.0.0.1", port: 1)
    tree = inCgroups ? try KubeTree(root: cgroup) : nil
    var configuration = AgentConfiguration(
      node: Sample.node, control: nowhere, join: nowhere, joinTokenFile: folder.path + "/token", trustFile: ca,
      stateDirectory: state, runDirectory: folder.path + "/run", bpffsDirectory: bpffs, cgroupRoot: cgroup,
      cgroup: cgroup + "/agent", proxyCgroup: cgroup + "/proxy", bpfObject: Self.bpfObject,
      proxyProgram: Self.proxyProgram, proxyUID: 61_337, proxyWorkers: 1, nodeAddresses: [], logLevel: "error",
      keepsOnExit: keepsOnExit)
    adjust(&configuration)
    self.configuration = configuration
    (agent, run) = try Self.start(configuration, folder, tree)
  }

  /// The files of an agent that was here before.
  private static func leave(
    _ workloads: [ReceivedResource], _ services: [ReceivedResource], _ authority: CertificateAuthority, in state: String
  ) throws {
    let identities = try IdentityStore(directory: state + "/identities")
    try identities.save(authority.trustBundle)
    if let node = NodeID(trustDomain: .clusterLocal, node: Sample.node) {
      try identities.save(authority.issue(for: .node(node), lifetime: 3600))
    }
    if let id = SPIFFEID(trustDomain: .clusterLocal, namespace: "shop", serviceAccount: "default") {
      try identities.save(authority.issue(for: .workload(id), lifetime: 3600))
    }
    var saved = DiscoveryState()
    saved.apply(Sample.update(workloads))
    saved.apply(DiscoveryUpdate(typeURL: Weft_Mesh_V1_Service.typeURL, resources: services, removed: []))
    try SnapshotStore(path: state + "/snapshot/mesh.bin").save(saved)
  }

  private static func start(
    _ configuration: AgentConfiguration, _ folder: TemporaryFolder, _ tree: KubeTree?
  ) throws -> (Agent, Task<Void, any Error>) {
    let source: any PodSource =
      tree.map { CgroupPodSource(root: $0.root) } ?? DirectoryPodSource(directory: folder.path + "/pods")
    let agent = try Agent(configuration, source: source, logger: quiet)
    return (agent, Task { try await agent.run() })
  }

  /// Ends as SIGTERM does.
  func stop() async throws {
    run.cancel()
    try await run.value
  }

  /// The next agent, on what the one before has left.
  func startAgain(_ adjust: (inout AgentConfiguration) -> Void = { _ in }) throws {
    var configuration = configuration
    adjust(&configuration)
    (agent, run) = try Self.start(configuration, folder, tree)
  }

  /// This process, which opens the pods' sockets, joins the agent's cgroup as a real agent does: only there do sockets tell
  /// their original destination. `close()` takes it back.
  func joinAgentCgroup() throws {
    home = try CgroupTree.find().own()
    _ = try OwnCgroup.join(cgroup + "/agent", from: nil)
  }

  /// A cgroup of processes that aren't the mesh's own.
  func cgroup(_ name: String) throws -> String {
    let path = "\(cgroup)/\(name)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }

  /// - Parameter netns: nil is this node's own namespace.
  func announce(_ name: String, netns: String? = nil) throws {
    let path = netns ?? "/proc/\(getpid())/fd/\(namespace.descriptor)"
    try folder.write(
      #"{"uid":"shop/\#(name)","namespace":"shop","name":"\#(name)","netns":"\#(path)","addresses":["10.9.9.2"]}"#,
      to: "pods/\(name).json")
  }

  func announce(_ name: String, in namespace: NetworkNamespace, _ address: String) throws {
    let path = "/proc/\(getpid())/fd/\(namespace.descriptor)"
    try folder.write(
      #"{"uid":"shop/\#(name)","namespace":"shop","name":"\#(name)","netns":"\#(path)","addresses":["\#(address)"]}"#,
      to: "pods/\(name).json")
  }

  func withdraw(_ name: String) { unlink(folder.path + "/pods/\(name).json") }

  func state(_ name: String) async -> String? { await agent.pods["shop/\(name)"]?.lifecycle.name }

  func becomes(_ state: String?, _ name: String) async -> Bool {
    await eventually { await self.state(name) == state }
  }

  var proxyProcesses: String {
    (try? String(contentsOfFile: cgroup + "/proxy/cgroup.procs", encoding: .utf8)) ?? ""
  }

  /// As `weft-agent clean` does.
  func clean() throws -> [String] {
    try NodeCleanup(
      bpffsDirectory: bpffs, runDirectory: configuration.runDirectory, stateDirectory: configuration.stateDirectory,
      cgroups: [cgroup + "/proxy", cgroup + "/agent"], proxyCgroup: cgroup + "/proxy", proxyUID: 61_337
    ).run()
  }

  /// What an agent may leave on its node.
  var leftovers: [String] {
    [bpffs, cgroup + "/proxy", cgroup + "/agent", configuration.runDirectory, configuration.stateDirectory]
      .filter { access($0, F_OK) == 0 }
  }

  /// Where the capture of this node's pod is pinned.
  var podPin: String { "\(bpffs)/links/pods/\(namespace.cookie)" }

  var hasPins: Bool { access(bpffs, F_OK) == 0 }

  /// This process's descriptors. Only the changes count: others come and go with the runtime.
  static func descriptorCount() -> Int {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd"))?.count ?? 0
  }

  func close() async {
    tree?.close()
    run.cancel()
    _ = try? await run.value
    ProxyProcess.killAll(in: cgroup + "/proxy", uid: 61_337)
    CaptureEngine.detach(bpffsDirectory: bpffs)
    _ = await eventually { proxyProcesses.isEmpty }
    if let home { _ = try? OwnCgroup.join(home, from: nil) }
    for path in ["/agent", "/proxy", "/apps", ""] { rmdir(cgroup + path) }
  }
}

/// What tests look at inside the agent.
extension Agent {
  func known() throws -> [KnownPod] { try engine.knownPods() }

  func statistics(_ name: String) throws -> PodStatistics? { try engine.statistics(uid: "shop/\(name)") }

  func mapEntries() throws -> [String: Int] {
    try engine.inspect().maps.reduce(into: [:]) { $0[$1.name] = $1.entries ?? 0 }
  }

  func check(_ name: String) async throws -> (ok: Bool, detail: String)? {
    struct Answer: Decodable {
      struct Check: Decodable {
        let name: String
        let ok: Bool
        let detail: String
      }
      let checks: [Check]
    }
    let answer = try JSONDecoder().decode(Answer.self, from: await self.answer("/v1/check").body)
    return answer.checks.first { $0.name == name }.map { ($0.ok, $0.detail) }
  }

  func proxyPods() async throws -> [String] {
    struct Dump: Decodable {
      let pods: [String]
    }
    guard let reply = await ask("dump") else { return [] }
    return try JSONDecoder().decode(Dump.self, from: reply).pods
  }

  func proxyWorkloads() async -> Int? {
    struct Statistics: Decodable {
      let workloads: Int
    }
    return await ask("statistics").flatMap { try? JSONDecoder().decode(Statistics.self, from: $0).workloads }
  }

  func drop(adopted listeners: [Int32], of uid: String) {
    adopted[uid] = listeners
    dropAdopted(uid)
  }

  func talk(to link: ProxyLink) { self.link = link }
}

func withAgent(
  _ workloads: [ReceivedResource], services: [ReceivedResource] = [], keepsOnExit: Bool = false,
  inCgroups: Bool = false, adjust: (inout AgentConfiguration) -> Void = { _ in },
  _ body: (AgentNode) async throws -> Void
) async throws {
  let node = try AgentNode(
    workloads: workloads, services: services, keepsOnExit: keepsOnExit, inCgroups: inCgroups, adjust: adjust)
  do {
    try await body(node)
  } catch {
    await node.close()
    throw error
  }
  await node.close()
}
