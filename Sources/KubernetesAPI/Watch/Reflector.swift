import Logging

/// Keeps telling all that happens to a kind's objects, whatever happens to the API server.
public struct Reflector: Sendable {
  private static let shortest = Duration.seconds(1)

  public let resource: KubernetesResource
  private let client: KubernetesClient
  private let selection: JSONSelection
  private let logger: Logger

  /// - Parameter reading: what of each object is read.
  public init(
    _ resource: KubernetesResource, client: KubernetesClient, reading selection: JSONSelection = .all, logger: Logger
  ) {
    self.resource = resource
    self.selection = selection
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

  /// Until the task is cancelled, or `tell` says false. Lists are told whole.
  public func run(_ tell: (News) async -> Bool) async {
    var listed: [KubernetesObject] = []
    await run(
      part: { part in
        if part.isFirst { listed = [] }
        listed += part.objects
        guard part.isLast else { return }
        _ = await tell(.change(.all(listed)))
        listed = []
      }, tell)
  }

  /// The same with each list in its pages, so that 100,000 objects never stand in memory at once.
  public func run(part: (ReflectorState.Part) async -> Void, _ tell: (News) async -> Bool) async {
    var state = ReflectorState()
    while !Task.isCancelled {
      do throws(KubernetesError) {
        switch state.next {
        case .page(let continuing):
          await part(try state.received(try await client.page(resource, continuing: continuing, reading: selection)))
        case .newest: state.received(newest: try await client.newestVersion(resource))
        case .watch(let version):
          let began = ContinuousClock.now
          try await client.watch(resource, from: version, reading: selection) { event throws(KubernetesError) in
            if let change = try state.received(event) { _ = await tell(.change(change)) }
          }
          state.watchEnded()
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
