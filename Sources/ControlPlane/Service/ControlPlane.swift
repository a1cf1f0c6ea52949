import Discovery
import Foundation
import Identity
import KubernetesAPI
import Logging
import MeshModel
import Synchronization

/// `weft-control`: a configuration folder compiled and streamed to the nodes, and the mesh's CA.
public final class ControlPlane: Sendable {
  public struct Configuration: Sendable {
    /// The folder of YAML files; nil: `apiServer` has the objects.
    public var folder: String?
    public var apiServer: APIServer?
    /// Holds the CA and `status.json`; made if it is missing.
    public var stateDirectory: String
    public var joinTokensFile: String
    /// The addresses, ports, names and certificate lifetime of the server.
    public var server = DiscoveryServer.Configuration()
    public var trustDomain = TrustDomain.clusterLocal
    public var clusterDomain = "cluster.local"
    var timing = FolderWatcher.Timing()

    public init(folder: String? = nil, apiServer: APIServer? = nil, stateDirectory: String, joinTokensFile: String) {
      self.folder = folder
      self.apiServer = apiServer
      self.stateDirectory = stateDirectory
      self.joinTokensFile = joinTokensFile
    }
  }

  private let configuration: Configuration
  private let logger: Logger
  private let cache = SnapshotCache()
  private let mesh: MeshState
  private let authority: CertificateAuthority
  private let server: DiscoveryServer
  private let status: StatusFile
  /// Whether there is something to serve, or nothing will be served any more.
  private let (beginnings, begins) = AsyncStream<Bool>.makeStream(bufferingPolicy: .bufferingNewest(1))
  private let tokensIdentity: Mutex<FileIdentity?>

  /// Opens or makes the CA, reads the tokens and the folder; nothing listens before `run()`.
  ///
  /// Throws a sentence where the folder is missing, a key or token file can be read by others, or a name is invalid.
  public init(_ configuration: Configuration, logger: Logger) throws {
    self.configuration = configuration
    self.logger = logger
    guard DNSName.isSubdomain(configuration.clusterDomain) else {
      throw ControlPlaneError("the cluster domain \(configuration.clusterDomain) is not a DNS name")
    }
    authority = try CertificateAuthority(
      stateDirectory: configuration.stateDirectory, trustDomain: configuration.trustDomain)
    let cache = cache
    let mesh = MeshState(
      folder: configuration.folder,
      config: MeshConfig(trustDomain: configuration.trustDomain, clusterDomain: configuration.clusterDomain),
      cache: cache)
    self.mesh = mesh
    tokensIdentity = Mutex(FileIdentity(path: configuration.joinTokensFile))
    let tokens = try JoinTokens(file: configuration.joinTokensFile)
    let status = StatusFile(path: "\(configuration.stateDirectory)/status.json", logger: logger) {
      StatusReport(objects: mesh.statuses, nodes: cache.nodes, generation: cache.generation)
    }
    self.status = status
    server = try DiscoveryServer(
      configuration: configuration.server, cache: cache, authority: authority,
      isScheduled: { mesh.isScheduled($0, node: $1) }, joinTokens: tokens, logger: logger,
      onNodeStatus: { node in
        Self.log(node, logger)
        status.touch()
      })
    guard let folder = configuration.folder else { return }
    let outcome = mesh.look()
    if let failure = outcome.failure { throw ControlPlaneError("the configuration folder \(folder) \(failure)") }
    report(outcome)
  }

  /// Serves until `shutdown()` or until the task is cancelled; throws where a port can't be served on.
  public func run() async throws {
    let watcher = try FolderWatcher(timing: configuration.timing)
    defer { watcher.stop() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { await self.follow(watcher) }
      defer { group.cancelAll() }
      if let server = configuration.apiServer, await !follow(try KubernetesClient(server), &group) { return }
      group.addTask {
        // A port that can't be bound makes `run` throw, which says more.
        guard let ports = try? await self.server.boundPorts() else { return }
        self.logger.info(
          "serving", metadata: ["discovery": "\(ports.discovery)", "join": "\(ports.join)"])
        self.status.touch()
        await self.status.run()
      }
      try await server.run()
    }
    status.writeNow()
  }

  /// Ends all streams and makes `run()` return.
  public func shutdown() {
    begins.yield(false)
    server.shutdown()
  }

  /// The ports in use; waits until both listen.
  public func boundPorts() async throws -> (discovery: Int, join: Int) { try await server.boundPorts() }

  /// The root that agents are given, PEM.
  public var rootPEM: String { authority.rootPEM }

  /// Follows the API server. Waits until all of it has been told, since nodes must never be served a part.
  /// - Returns: false: it is to shut down.
  private func follow(_ client: KubernetesClient, _ group: inout ThrowingTaskGroup<Void, any Error>) async -> Bool {
    logger.info("reading the objects of \(client.server.url)")
    let source = KubernetesSource(client: client, logger: logger)
    group.addTask {
      await source.run { change, kind in
        self.report(self.mesh.take(change, of: kind))
        if self.mesh.isComplete { self.begins.yield(true) }
      }
      await client.shutdown()
    }
    for await begins in beginnings { return begins && !Task.isCancelled }
    return false
  }

  private func follow(_ watcher: FolderWatcher) async {
    var watched: Set<String> = []
    // Where the tokens are; should it be unwatchable, they are read again within 30 s.
    let tokens = URL(filePath: configuration.joinTokensFile).deletingLastPathComponent().path
    _ = watcher.watch([tokens, configuration.stateDirectory + "/roots"])
    look(watcher, &watched)
    reloadTokens()
    for await _ in watcher.changes {
      if Task.isCancelled { return }
      look(watcher, &watched)
      reloadTokens()
      reloadRoots()
    }
  }

  /// Looks at the folder; once more where folders were new, for what was written before they were watched.
  private func look(_ watcher: FolderWatcher, _ watched: inout Set<String>) {
    for _ in 0..<2 {
      let outcome = mesh.look()
      report(outcome)
      let failed = watcher.watch(outcome.folders)
      let areKnown = watched.isSuperset(of: outcome.folders)
      watched = Set(outcome.folders)
      if areKnown { return }
      guard failed > 0 else { continue }
      logger.warning(
        "\(failed) folders can't be watched (see fs.inotify.max_user_watches): changes are noticed within 30 s")
    }
  }

  private func reloadTokens() {
    let identity = FileIdentity(path: configuration.joinTokensFile)
    guard
      tokensIdentity.withLock({ old in
        defer { old = identity }
        return old != identity
      })
    else { return }
    do throws(IdentityError) {
      server.use(try JoinTokens(file: configuration.joinTokensFile))
      logger.info("read the join tokens again")
    } catch {
      logger.error("the join tokens stay as they were: \(error)")
    }
  }

  /// A root laid beside the mesh's own is trusted by each agent from its next renewal on.
  private func reloadRoots() {
    let before = authority.trustBundle
    do {
      try authority.reloadRoots()
      guard authority.trustBundle != before else { return }
      logger.info("read the roots again", metadata: ["roots": "\(authority.trustBundle.roots.count)"])
    } catch {
      logger.error("the roots stay as they were: \(error)")
    }
  }

  // MARK: Log

  private func report(_ outcome: MeshState.Outcome) {
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
    status.touch()
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
