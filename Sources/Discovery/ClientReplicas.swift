import Identity

/// The replicas that a client knows, and which one is its own.
final class ClientReplicas: Sendable {
  private let resolver: HostResolver
  private let port: Int
  private let choice: Guarded<ReplicaChoice>
  private let start = ContinuousClock.now

  init(_ configuration: DiscoveryClient.Configuration) {
    let endpoint = configuration.control
    resolver = HostResolver(endpoint.host, lookUp: configuration.lookUp)
    port = endpoint.port
    choice = Guarded(ReplicaChoice(node: configuration.node))
  }

  /// Resolves the name again.
  /// - Returns: the replica to connect to; nil: none is known, and the name itself is tried.
  func next() async -> ControlEndpoint? {
    let addresses = await resolver.addresses()
    return choice.withLock { choice in
      choice.resolved(addresses)
      return choice.next.map { ControlEndpoint(host: $0, port: port) }
    }
  }

  /// - Returns: whether another one can be tried at once.
  func failed(_ replica: ControlEndpoint, wasConnected: Bool) -> Bool {
    choice.withLock { $0.failed(replica.host, wasConnected: wasConnected, now: now) }
  }

  /// Resolves the name again, and says whether there is a replica that the node prefers to the one in use.
  func hasBetter(than replica: ControlEndpoint) async -> Bool {
    let addresses = await resolver.addresses()
    return choice.withLock { choice in
      choice.resolved(addresses)
      return choice.better(than: replica.host, now: now) != nil
    }
  }

  private var now: Double { (ContinuousClock.now - start) / .seconds(1) }

  /// Asks one replica after another until one answers, be it a refusal.
  static func firstAnswer<Answer: Sendable>(
    _ endpoint: ControlEndpoint, node: String,
    _ ask: (ControlEndpoint) async throws(DiscoveryError) -> Answer
  ) async throws(DiscoveryError) -> Answer {
    let addresses = await HostResolver(endpoint.host).addresses()
    var last: DiscoveryError?
    for address in ReplicaChoice.ordered(addresses, for: node) {
      do throws(DiscoveryError) {
        return try await ask(ControlEndpoint(host: address, port: endpoint.port))
      } catch {
        guard error.kind == .unreachable else { throw error }
        last = error
      }
    }
    if let last { throw last }
    // It says best why it doesn't resolve.
    return try await ask(endpoint)
  }
}
