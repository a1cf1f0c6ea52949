import DiscoveryAPI
import Foundation
import Identity
import Logging
import MeshModel

/// An agent's connection to the control plane: one incremental xDS stream that is kept up and resumed, and
/// certificate signing.
public final class DiscoveryClient: Sendable {
  public struct Configuration: Sendable {
    /// The node's name.
    public var node: String
    /// Discovery and signing. A name may lead to several replicas.
    public var control: ControlEndpoint
    /// What is subscribed to, all of it, in this order.
    public var typeURLs: [String] = [
      Weft_Mesh_V1_MeshConfig.typeURL, Weft_Mesh_V1_TrafficPolicy.typeURL, Weft_Mesh_V1_Route.typeURL,
      Weft_Mesh_V1_Service.typeURL, Weft_Mesh_V1_Workload.typeURL,
    ]
    /// Bounds of the wait between attempts, in seconds.
    public var retries: ClosedRange<Double> = 0.2...10
    /// The most that a node waits before it moves to another replica, in seconds: not all do it at once.
    public var moving = 0.5
    /// Between two looks for a replica that the node prefers, in seconds, with a quarter of jitter.
    public var rebalancing = 300.0
    /// For connecting, and for each call but the stream, in seconds.
    public var timeout = 10.0
    /// Of `control`'s host; may block.
    var lookUp: @Sendable (String) -> [String] = HostResolver.system

    public init(node: String, control: ControlEndpoint) {
      self.node = node
      self.control = control
    }
  }

  public struct Status: Hashable, Sendable {
    public var connected: Bool
    /// Why the last attempt or stream ended; nil while connected.
    public var lastError: String?
    /// When `connected` last changed.
    public var since: Date
    /// By how many seconds this machine's clock was behind the CA's when a certificate came last: to a second or two. nil: not
    /// known yet.
    public var clockLag: Double?
  }

  let configuration: Configuration
  let logger: Logger
  private let onStatus: @Sendable (Status) -> Void
  let shared: Guarded<Shared>
  let replicas: ClientReplicas

  struct Shared: Sendable {
    var credentials: HeldIdentity
    var bundle: TrustBundle
    var state: DiscoveryState
    var status: Status
    /// The client of the connection in use, for signing on it.
    var client: ControlTransport.Client?
    /// Ends the stream in use, so that it is opened anew.
    var reconnect: AsyncStream<Void>.Continuation?
    /// Why the last handshake failed.
    var refusal: IdentityError?
  }

  /// Nothing connects before `run(handler:)`, but `sign` works on a connection of its own.
  ///
  /// - Parameters:
  ///   - state: what to resume from; the handler is not called for it.
  ///   - onStatus: is told each change, possibly on another task than the one that runs.
  public init(
    configuration: Configuration, credentials: HeldIdentity, trustBundle: TrustBundle,
    resuming state: DiscoveryState = DiscoveryState(), logger: Logger = Logger(label: "weft.discovery"),
    onStatus: @escaping @Sendable (Status) -> Void = { _ in }
  ) {
    self.configuration = configuration
    self.logger = logger
    self.onStatus = onStatus
    replicas = ClientReplicas(configuration)
    shared = Guarded(
      Shared(
        credentials: credentials, bundle: trustBundle, state: state,
        status: Status(connected: false, lastError: nil, since: Date())))
  }

  public var status: Status { shared.withLock { $0.status } }

  /// What is in force now: accepted by the handler, or resumed from. An update is in it after the handler returned.
  public var state: DiscoveryState { shared.withLock { $0.state } }

  /// The roots that peers may chain to, as the control plane last said.
  public var trustBundle: TrustBundle { shared.withLock { $0.bundle } }

  /// Uses a renewed node certificate, and the roots that came with it: the stream reconnects with them and resumes.
  public func use(_ credentials: HeldIdentity, trustBundle: TrustBundle? = nil) {
    shared.withLock {
      $0.credentials = credentials
      if let trustBundle { $0.bundle = trustBundle }
      $0.reconnect?.finish()
    }
  }

  /// Keeps the stream up until the task is cancelled.
  ///
  /// - Parameter handler: is given each response, one after another, and says which resources it can't use; of those
  ///   the last accepted version stays in force and the control plane is told why.
  public func run(handler: @escaping @Sendable (DiscoveryUpdate) async -> [RejectedResource]) async {
    var backoff = Backoff(minimum: configuration.retries.lowerBound, maximum: configuration.retries.upperBound)
    var random = SystemRandomNumberGenerator()
    while !Task.isCancelled {
      shared.withLock { $0.refusal = nil }
      let replica = await replicas.next()
      let error = await connect(to: replica, handler: handler)
      guard !Task.isCancelled else { break }
      let wasConnected = status.connected
      setStatus(connected: false, error: error?.description)
      if wasConnected { backoff.reset() }
      if let error {
        logger.warning("discovery is away", metadata: ["error": "\(error)"])
        if let replica, replicas.failed(replica, wasConnected: wasConnected) {
          try? await Task.sleep(for: .seconds(Double.random(in: 0...configuration.moving, using: &random)))
          continue
        }
      }
      try? await Task.sleep(for: .seconds(backoff.next(using: &random)))
    }
    setStatus(connected: false, error: nil)
  }

  func setStatus(connected: Bool, error: String?) {
    let changed = shared.withLock { shared -> Status? in
      let before = shared.status
      shared.status.lastError = error
      if before.connected != connected {
        shared.status.connected = connected
        shared.status.since = Date()
      }
      return shared.status == before ? nil : shared.status
    }
    if let changed { onStatus(changed) }
  }
}
