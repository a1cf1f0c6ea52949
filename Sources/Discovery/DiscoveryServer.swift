import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Identity
import Logging
import MeshModel
import NIOCore

/// The control plane's two ports: discovery and signing under mTLS with node certificates, and joining with a token.
public final class DiscoveryServer: Sendable {
  public struct Configuration: Sendable {
    /// The address to listen on, IPv4 or IPv6.
    public var host = "0.0.0.0"
    /// 0 takes any free port: see `boundPorts()`.
    public var discoveryPort = Int(MeshPort.discovery)
    public var joinPort = Int(MeshPort.join)
    /// Host names and addresses that agents reach this control plane by: SANs of its certificate.
    public var advertise: [String] = []
    /// Of workload and node certificates, in seconds; within `CertificateAuthority.lifetimes`.
    public var certificateLifetime = CertificateAuthority.defaultLifetime
    /// Of each port; further ones are closed at once.
    public var maximumConnections = 10_000
    /// How long running calls may take after `shutdown()`, in seconds.
    public var shutdownGrace = 2.0

    public init() {}
  }

  private let configuration: Configuration
  private let cache: SnapshotCache
  private let logger: Logger
  private let onNodeStatus: @Sendable (NodeStatus) -> Void
  private let discovery: GRPCServer<HTTP2ServerTransport.Posix>
  private let join: GRPCServer<HTTP2ServerTransport.Posix>
  private let stop = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))

  /// Makes the server's certificate; nothing listens before `run()`.
  ///
  /// - Parameters:
  ///   - isScheduled: whether a workload of that identity is scheduled on that node now. Asked for each signing.
  ///   - isNode: whether a node of that name is in the cluster now. Asked for each renewal of a node's certificate.
  ///   - attestation: who may join.
  ///   - onRefusal: is told of each caller that may not.
  ///   - onPodProblem: is told of each pod that a node says it doesn't carry; whether it is that node's isn't checked.
  ///     Its answer: whether it was taken.
  ///   - onNodeStatus: is told each change of a node's stream, one at a time, the latest state of each node.
  public init(
    configuration: Configuration, cache: SnapshotCache, authority: CertificateAuthority,
    isScheduled: @escaping @Sendable (SPIFFEID, String) -> Bool,
    isNode: @escaping @Sendable (String) -> Bool = { _ in true }, attestation: any NodeAttestation,
    logger: Logger = Logger(label: "weft.discovery"),
    onRefusal: @escaping @Sendable (_ node: String, AttestationError) -> Void = { _, _ in },
    onPodProblem: @escaping @Sendable (_ node: String, PodProblem) -> Bool = { _, _ in true },
    onNodeStatus: @escaping @Sendable (NodeStatus) -> Void = { _ in }
  ) throws(IdentityError) {
    self.configuration = configuration
    self.cache = cache
    self.logger = logger
    self.onNodeStatus = onNodeStatus
    let lifetime = configuration.certificateLifetime
    let certificate = try ServerCertificate(
      authority: authority, names: configuration.advertise, lifetime: lifetime, logger: logger)
    let held = certificate.current
    let security = HTTP2ServerTransport.Posix.TransportSecurity.mTLS(
      certificateChain: held.certificateSources, privateKey: held.privateKeySource
    ) {
      $0.certificateReloader = certificate
      $0.requireALPN = true
      $0.trustRoots = .onlyTheCallback
      $0.customVerificationCallback = HandshakeVerification.callback(
        role: .client, bundle: { authority.trustBundle },
        refused: { logger.notice("refused a connection: \($0)") })
    }
    let joinSecurity = HTTP2ServerTransport.Posix.TransportSecurity.tls(
      certificateChain: held.certificateSources, privateKey: held.privateKeySource
    ) {
      $0.certificateReloader = certificate
      $0.requireALPN = true
      $0.trustRoots = .onlyTheCallback
    }
    discovery = GRPCServer(
      transport: Self.transport(
        configuration.host, configuration.discoveryPort, security, maximumRequest: DiscoveryLimits.requestBytes,
        maximumConnections: configuration.maximumConnections),
      services: [
        DiscoveryService(cache: cache, logger: logger),
        SigningService(
          authority: authority, lifetime: lifetime, isScheduled: isScheduled, isNode: isNode, logger: logger),
        ReportService(onPodProblem: onPodProblem),
      ])
    join = GRPCServer(
      transport: Self.transport(
        configuration.host, configuration.joinPort, joinSecurity, maximumRequest: 64 * 1024,
        maximumConnections: configuration.maximumConnections, maximumAge: .seconds(60)),
      services: [
        JoinService(
          authority: authority, lifetime: lifetime, attestation: attestation, logger: logger, onRefusal: onRefusal)
      ])
  }

  /// Serves until `shutdown()`, until the task is cancelled, or until a port fails, which throws.
  public func run() async throws {
    let statusChanges = cache.statusChanges()
    try await withThrowingTaskGroup(of: Ending.self) { group in
      group.addTask { try await self.serve(self.discovery, port: self.configuration.discoveryPort) }
      group.addTask { try await self.serve(self.join, port: self.configuration.joinPort) }
      group.addTask {
        for await _ in statusChanges {
          for status in self.cache.takeChangedStatuses() { self.onNodeStatus(status) }
        }
        return .observed
      }
      group.addTask {
        for await _ in self.stop.stream { break }
        self.cache.endStreams()
        self.discovery.beginGracefulShutdown()
        self.join.beginGracefulShutdown()
        try await Task.sleep(for: .seconds(self.configuration.shutdownGrace))
        return .graceOver
      }
      defer { group.cancelAll() }
      var serving = 2
      while serving > 0, let ending = try await group.next(), ending != .graceOver {
        if ending == .served { serving -= 1 }
      }
    }
  }

  private enum Ending {
    case served, observed, graceOver
  }

  /// Ends all streams, lets running calls finish for the grace, and makes `run()` return.
  public func shutdown() { stop.continuation.yield() }

  /// The ports in use; waits until `run()` listens on both. Throws where it can't: `run()` says why.
  public func boundPorts() async throws(DiscoveryError) -> (discovery: Int, join: Int) {
    (try await bound(discovery, configuration.discoveryPort), try await bound(join, configuration.joinPort))
  }

  private func bound(
    _ server: GRPCServer<HTTP2ServerTransport.Posix>, _ port: Int
  ) async throws(DiscoveryError) -> Int {
    do {
      let address = try await server.transport.listeningAddress
      return address.ipv4?.port ?? address.ipv6?.port ?? port
    } catch {
      throw DiscoveryError(.unreachable, "nothing listens on \(configuration.host) port \(port)")
    }
  }

  private func serve(_ server: GRPCServer<HTTP2ServerTransport.Posix>, port: Int) async throws -> Ending {
    do {
      try await server.serve()
      return .served
    } catch let error as RuntimeError {
      let reason = error.cause.map { "\($0)" } ?? error.message
      throw DiscoveryError(.unreachable, "can't serve on \(configuration.host) port \(port): \(reason)")
    }
  }

  private static func transport(
    _ host: String, _ port: Int, _ security: HTTP2ServerTransport.Posix.TransportSecurity, maximumRequest: Int,
    maximumConnections: Int, maximumAge: Duration? = nil
  ) -> HTTP2ServerTransport.Posix {
    let gate = ConnectionGate(limit: maximumConnections)
    return HTTP2ServerTransport.Posix(
      address: host.contains(":") ? .ipv6(host: host, port: port) : .ipv4(host: host, port: port),
      transportSecurity: security,
      config: .defaults {
        $0.rpc.maxRequestPayloadSize = maximumRequest
        $0.http2.maxConcurrentStreams = 64
        $0.connection.maxAge = maximumAge
        $0.connection.maxGraceTime = .seconds(10)
        $0.connection.maxIdleTime = .seconds(60)
        // A node that vanished is noticed in 20 s, and nodes may ask often enough to notice the same of us.
        $0.connection.keepalive.time = .seconds(10)
        $0.connection.keepalive.timeout = .seconds(5)
        $0.channelDebuggingCallbacks.onAcceptTCPConnection = {
          gate.admit($0, silence: .seconds(18))
        }
        $0.connection.keepalive.clientBehavior.allowWithoutCalls = true
        $0.connection.keepalive.clientBehavior.minPingIntervalWithoutCalls = .seconds(5)
      })
  }
}
