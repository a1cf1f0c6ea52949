import Logging

/// Keeps telling all that happens to a kind's objects, whatever happens to the API server.
public struct Reflector: Sendable {
  private static let shortest = Duration.seconds(1)

  public let resource: KubernetesResource
  private let client: KubernetesClient
  private let logger: Logger

  public init(_ resource: KubernetesResource, client: KubernetesClient, logger: Logger) {
    self.resource = resource
    self.client = client
    self.logger = logger
  }

  /// What one learns of a kind.
  public enum News: Sendable {
    case change(ReflectorState.Change)
    /// The server doesn't know the kind.
    case missing
    /// Nothing could be learned: what was known holds.
    case failed(KubernetesError)
  }

  /// Until the task is cancelled, or `tell` says false.
  public func run(_ tell: (News) async -> Bool) async {
    var state = ReflectorState()
    while !Task.isCancelled {
      do throws(KubernetesError) {
        switch state.next {
        case .page(let continuing):
          let page = try await client.page(resource, continuing: continuing)
          if let change = try state.received(page) { _ = await tell(.change(change)) }
        case .watch(let version):
          let began = ContinuousClock.now
          try await client.watch(resource, from: version) { event throws(KubernetesError) in
            if let change = try state.received(event) { _ = await tell(.change(change)) }
          }
          // A server that ends each watch at once isn't asked without end.
          if ContinuousClock.now - began < Self.shortest { throw .unreachable("the watch ended at once") }
        }
      } catch {
        guard !Task.isCancelled else { return }
        let pause = state.failed(error, random: Double.random(in: 0..<1))
        logger.log(level: state.isMissing ? .debug : .warning, "\(resource): \(error)")
        guard await tell(state.isMissing ? .missing : .failed(error)) else { return }
        try? await Task.sleep(for: .milliseconds(pause))
      }
    }
  }
}
