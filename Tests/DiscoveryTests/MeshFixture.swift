import DiscoveryAPI
import Foundation
import Identity
import Logging
import MeshModel
import Testing

@testable import Discovery

/// A control plane on loopback with real certificates, and the agents that talk to it.
final class MeshFixture: Sendable {
  static let token = "0123456789abcdef"

  let directory: TemporaryDirectory
  let authority: CertificateAuthority
  let cache = SnapshotCache()
  let scheduled = Guarded<[SPIFFEID: String]>([:])
  private let statuses = Guarded<[NodeStatus]>([])
  private let lifetime: TimeInterval
  let tokens: JoinTokenAttestation

  init(lifetime: TimeInterval = 3600) throws {
    directory = try TemporaryDirectory()
    authority = try CertificateAuthority(stateDirectory: directory.path + "/ca", trustDomain: .clusterLocal)
    self.lifetime = lifetime
    tokens = JoinTokenAttestation(try JoinTokens(text: "node-a \(Self.token)\n"), trustDomain: .clusterLocal)
  }

  var bundle: TrustBundle { authority.trustBundle }
  var lastStatus: NodeStatus? { statuses.value.last }

  func node(_ name: String) -> CertificateSubject {
    .node(NodeID(trustDomain: .clusterLocal, node: name)!)
  }

  /// Serves while the body runs, on the given ports or free ones.
  func serving<Result: Sendable>(
    ports: (discovery: Int, join: Int) = (0, 0), maximumConnections: Int = 100,
    _ body: @Sendable (_ ports: (discovery: Int, join: Int), _ server: DiscoveryServer) async throws -> Result
  ) async throws -> Result {
    var configuration = DiscoveryServer.Configuration()
    configuration.host = "127.0.0.1"
    configuration.discoveryPort = ports.discovery
    configuration.joinPort = ports.join
    configuration.advertise = ["127.0.0.1"]
    configuration.certificateLifetime = lifetime
    configuration.shutdownGrace = 0.5
    configuration.maximumConnections = maximumConnections
    let server = try DiscoveryServer(
      configuration: configuration, cache: cache, authority: authority,
      isScheduled: { [scheduled] id, node in scheduled.value[id] == node },
      attestation: tokens, logger: quiet,
      onNodeStatus: { [statuses] status in statuses.withLock { $0.append(status) } })
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      let bound: (discovery: Int, join: Int)
      do {
        bound = try await server.boundPorts()
      } catch {
        // run() knows why.
        try await group.waitForAll()
        throw error
      }
      let result = try await body(bound, server)
      server.shutdown()
      try await group.waitForAll()
      return result
    }
  }

  func client(
    port: Int, credentials: HeldIdentity? = nil, bundle: TrustBundle? = nil, resuming: DiscoveryState = .init(),
    as node: String = "node-a"
  ) throws -> DiscoveryClient {
    var configuration = DiscoveryClient.Configuration(
      node: node, control: ControlEndpoint(host: "127.0.0.1", port: port))
    configuration.retries = 0.05...0.2
    return DiscoveryClient(
      configuration: configuration, credentials: try credentials ?? authority.issue(for: self.node("node-a")),
      trustBundle: bundle ?? self.bundle, resuming: resuming, logger: quiet)
  }

  func apply(_ upserts: [DiscoveryResource], removing: [ResourceKey] = []) {
    cache.apply(upserts: upserts, removals: removing, meshedNodes: [])
  }
}

let quiet = Logger(label: "tests", factory: { _ in SwiftLogNoOpLogHandler() })

/// Runs the client while the body runs.
func running(
  _ client: DiscoveryClient, handler: @escaping @Sendable (DiscoveryUpdate) async -> [RejectedResource] = { _ in [] },
  _ body: @Sendable () async throws -> Void
) async throws {
  try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask { await client.run(handler: handler) }
    defer { group.cancelAll() }
    try await body()
  }
}
