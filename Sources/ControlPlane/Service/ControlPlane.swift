import Discovery
import Foundation
import Identity
import Injection
import KubernetesAPI
import Logging
import MeshModel
import Synchronization

/// `weft-control`: the objects of a folder or an API server, compiled and streamed to the nodes, and the mesh's CA.
public final class ControlPlane: Sendable {
  public struct Configuration: Sendable {
    /// The folder of YAML files; nil: `apiServer` has the objects, and keeps the CA.
    public var folder: String?
    public var apiServer: APIServer?
    /// Of this installation: where the CA, the Lease and the agents' accounts are.
    public var namespace = "weft-system"
    /// Tells this replica from the others.
    public var replica = "weft-control"
    /// Holds `status.json`, and with a folder the CA; made if it is missing. nil only with an API server.
    public var stateDirectory: String?
    /// nil only with an API server, whose agents prove themselves by their accounts' tokens.
    public var joinTokensFile: String?
    /// Of the probes; nil: none are answered.
    public var healthPort: Int?
    /// Of the injector's webhook, with an API server; nil: there is none.
    public var webhookPort: Int?
    public var injection = InjectionSettings()
    /// Whether stubs are injected as native sidecars; nil: as the API server's version says.
    public var hasNativeSidecars: Bool?
    /// The addresses, ports, names and certificate lifetime of the server.
    public var server = DiscoveryServer.Configuration()
    public var trustDomain = TrustDomain.clusterLocal
    public var clusterDomain = "cluster.local"
    var timing = FolderWatcher.Timing()

    public init(
      folder: String? = nil, apiServer: APIServer? = nil, stateDirectory: String? = nil, joinTokensFile: String? = nil
    ) {
      self.folder = folder
      self.apiServer = apiServer
      self.stateDirectory = stateDirectory
      self.joinTokensFile = joinTokensFile
    }
  }

  /// What needs the CA.
  struct Serving: Sendable {
    var authority: CertificateAuthority
    var server: DiscoveryServer
  }

  private struct State: Sendable {
    var serving: Serving?
    var isEnding = false
  }

  let configuration: Configuration
  let logger: Logger
  let cache = SnapshotCache()
  let mesh: MeshState
  let status: StatusFile?
  let tokens: JoinTokenAttestation?
  let health = Health()
  let writing = ClusterWriting()
  /// Whether there is something to serve, or nothing will be served any more.
  let (beginnings, begins) = AsyncStream<Bool>.makeStream(bufferingPolicy: .bufferingNewest(1))
  let tokensIdentity: Mutex<FileIdentity?>
  private let state = Mutex(State())

  /// Reads the tokens and the folder, and opens or makes its CA; nothing listens before `run()`.
  ///
  /// Throws a sentence where the folder is missing, a key or token file can be read by others, or a name is invalid.
  public init(_ configuration: Configuration, logger: Logger) throws {
    self.configuration = configuration
    self.logger = logger
    guard DNSName.isSubdomain(configuration.clusterDomain) else {
      throw ControlPlaneError("the cluster domain \(configuration.clusterDomain) is not a DNS name")
    }
    let cache = cache
    let mesh = MeshState(
      folder: configuration.folder,
      config: MeshConfig(trustDomain: configuration.trustDomain, clusterDomain: configuration.clusterDomain),
      cache: cache)
    self.mesh = mesh
    status = configuration.stateDirectory.map { directory in
      StatusFile(path: "\(directory)/status.json", logger: logger) {
        let (listed, total) = mesh.statuses()
        return StatusReport(objects: listed, total: total, nodes: cache.nodes, generation: cache.generation)
      }
    }
    tokensIdentity = Mutex(configuration.joinTokensFile.flatMap { FileIdentity(path: $0) })
    let joinTokens = try configuration.joinTokensFile.map { try JoinTokens(file: $0) }
    tokens = joinTokens.map { JoinTokenAttestation($0, trustDomain: configuration.trustDomain) }
    guard let folder = configuration.folder else {
      guard configuration.apiServer != nil else { throw ControlPlaneError("there is no folder and no API server") }
      if let directory = configuration.stateDirectory { try SecureFile.makeDirectory(directory) }
      return
    }
    guard let directory = configuration.stateDirectory, let tokens else {
      throw ControlPlaneError("with a folder, a state directory and a file of join tokens are needed")
    }
    let authority = try CertificateAuthority(stateDirectory: directory, trustDomain: configuration.trustDomain)
    _ = try serve(authority, tokens)
    let outcome = mesh.look()
    if let failure = outcome.failure { throw ControlPlaneError("the configuration folder \(folder) \(failure)") }
    report(outcome)
  }

  /// Serves until `shutdown()` or until the task is cancelled; throws where a port can't be served on.
  public func run() async throws {
    if let server = configuration.apiServer {
      try await run(server)
    } else {
      try await runOnFolder()
    }
    status?.writeNow()
  }

  /// Ends all streams and makes `run()` return.
  public func shutdown() {
    health.isReady = false
    begins.yield(false)
    let serving = state.withLock { state in
      state.isEnding = true
      return state.serving
    }
    serving?.server.shutdown()
  }

  /// The ports in use; waits until both listen. With an API server there are none before everything has been read.
  public func boundPorts() async throws -> (discovery: Int, join: Int) {
    guard let serving = state.withLock({ $0.serving }) else { throw ControlPlaneError("nothing is served yet") }
    return try await serving.server.boundPorts()
  }

  /// The root that agents are given, PEM; empty before the CA is open.
  public var rootPEM: String { state.withLock { $0.serving }?.authority.rootPEM ?? "" }

  /// Makes the server.
  /// - Parameters:
  ///   - isNode: where nodes are objects, whether there is one; in files they need none: the list of tokens names them.
  ///   - onRefusal, onPodProblem: see `DiscoveryServer`.
  func serve(
    _ authority: CertificateAuthority, _ attestation: any NodeAttestation,
    isNode: @escaping @Sendable (String) -> Bool = { _ in true },
    onRefusal: @escaping @Sendable (_ node: String, AttestationError) -> Void = { _, _ in },
    onPodProblem: @escaping @Sendable (_ node: String, PodProblem) -> Bool = { _, _ in true },
    onNodeStatus: @escaping @Sendable (NodeStatus) -> Void = { _ in }
  ) throws -> DiscoveryServer {
    let (mesh, status, logger) = (mesh, status, logger)
    let server = try DiscoveryServer(
      configuration: configuration.server, cache: cache, authority: authority,
      isScheduled: { mesh.isScheduled($0, node: $1) },
      isNode: isNode, attestation: attestation, logger: logger,
      onRefusal: onRefusal,
      onPodProblem: { node, pod in
        guard mesh.isScheduled(workload: pod.workload, node: node) else { return true }
        logger.warning(
          "a node doesn't carry a pod",
          metadata: ["node": "\(node)", "pod": "\(pod.workload)", "reason": "\(pod.reason)"])
        return onPodProblem(node, pod)
      },
      onNodeStatus: { node in
        Self.log(node, logger)
        status?.touch()
        onNodeStatus(node)
      })
    let isEnding = state.withLock { state in
      state.serving = Serving(authority: authority, server: server)
      return state.isEnding
    }
    if isEnding { server.shutdown() }
    return server
  }

  /// Keeps the status file until the task is cancelled, and says where it serves.
  func announce(_ server: DiscoveryServer) async {
    // A port that can't be bound makes `run` throw, which says more.
    guard let ports = try? await server.boundPorts() else { return }
    logger.info("serving", metadata: ["discovery": "\(ports.discovery)", "join": "\(ports.join)"])
    if !state.withLock({ $0.isEnding }) { health.isReady = true }
    status?.touch()
    await status?.run()
  }

  /// Answers probes until the task is cancelled.
  func answerProbes() async throws {
    guard let port = configuration.healthPort else { return }
    try await HealthServer.run(
      host: configuration.server.host, port: port, health: health,
      work: { [mesh] in mesh.isFree })
  }

  private func runOnFolder() async throws {
    guard let serving = state.withLock({ $0.serving }) else { return }
    let watcher = try FolderWatcher(timing: configuration.timing)
    defer { watcher.stop() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { await self.follow(watcher, serving.authority) }
      group.addTask { try await self.answerProbes() }
      group.addTask { await self.announce(serving.server) }
      defer { group.cancelAll() }
      try await serving.server.run()
    }
  }

  // MARK: Log

  func report(_ outcome: MeshState.Outcome) {
    for reason in outcome.refusals { logger.error("\(reason)") }
    for reason in outcome.undistributed { logger.error("not distributed: \(reason)") }
    guard !outcome.changedFiles.isEmpty else { return }
    logger.info(
      "configuration read",
      metadata: [
        "files": "\(outcome.changedFiles.count)",
        "accepted": "\(outcome.accepted)",
        "refused": "\(outcome.refusals.count)",
        "generation": "\(cache.generation)",
      ])
    status?.touch()
  }

  private static func log(_ node: NodeStatus, _ logger: Logger) {
    logger.info(
      node.connected ? "node connected" : "node disconnected",
      metadata: ["node": "\(node.node)", "nacked": "\(node.nacked.count)"])
    for rejected in node.nacked {
      logger.error(
        "node \(node.node) refused \(rejected.name.isEmpty ? "a response" : rejected.name): \(rejected.reason)",
        metadata: ["type": "\(rejected.typeURL)"])
    }
  }
}
