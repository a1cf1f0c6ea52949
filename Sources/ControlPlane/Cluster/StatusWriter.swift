import Discovery
import Foundation
import KubernetesAPI
import Logging
import Identity

/// Writes the statuses that have changed, while this replica leads: a pass at most once a second, and of one pass at most
/// twenty writes a second. Each write holds only if the object is as it was read.
final class StatusWriter: Sendable {
  private static let pause = Duration.seconds(1)
  private static let spacing = Duration.milliseconds(50)
  /// A pass without a signal: for what was deferred, and for a leader that has just become it.
  private static let idle = Duration.seconds(30)
  private static let pendingPause = Duration.seconds(2)

  private enum Outcome {
    case written, unneeded
    /// The server doesn't want it in this form: not again before the object changes.
    case unacceptable(String)
    /// This program may not write it now.
    case refused(KubernetesError)
  }

  private let client: KubernetesClient
  private let mesh: MeshState
  private let deliveries: @Sendable () -> DeliveryReport
  private let isLeader: @Sendable () -> Bool
  private let logger: Logger
  private let (signals, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))

  init(
    client: KubernetesClient, mesh: MeshState, isLeader: @escaping @Sendable () -> Bool, logger: Logger,
    deliveries: @escaping @Sendable () -> DeliveryReport
  ) {
    self.client = client
    self.mesh = mesh
    self.isLeader = isLeader
    self.logger = logger
    self.deliveries = deliveries
  }

  /// Says that statuses may be others now.
  func touch() { continuation.yield() }

  /// Until the task is cancelled.
  func run() async {
    var unacceptable: [ObjectKey: String] = [:]
    var backoff = Backoff(minimum: 1, maximum: 30)
    var random = SystemRandomNumberGenerator()
    while !Task.isCancelled {
      var wait = Self.idle
      do throws(KubernetesError) {
        if isLeader(), try await pass(&unacceptable) { wait = Self.pendingPause }
        backoff.reset()
      } catch {
        wait = .seconds(backoff.next(using: &random))
        if case .throttled(let seconds) = error { wait = .seconds(seconds) }
        logger.warning("statuses can't be written: \(error)")
        // What is due stays due: nothing may shorten the wait.
        try? await Task.sleep(for: wait)
        continue
      }
      try? await Task.sleep(for: Self.pause)
      await signalled(within: wait)
    }
  }

  /// - Returns: whether nodes have yet to confirm something.
  private func pass(_ unacceptable: inout [ObjectKey: String]) async throws(KubernetesError) -> Bool {
    let report = deliveries()
    let time = Date().formatted(.iso8601)
    let inputs = mesh.statusInputs
    let versions = Dictionary(uniqueKeysWithValues: inputs.map { ($0.key, $0.subject.resourceVersion) })
    unacceptable = unacceptable.filter { versions[$0.key] == $0.value }
    var isPending = false
    var refusal: KubernetesError?
    for input in inputs.sorted(by: { $0.key < $1.key }) where unacceptable[input.key] == nil {
      guard let change = StatusDocument(input, report, time: time).change else {
        // What a pass before has written so, and still is.
        isPending = isPending || StatusDocument.isPending(input.subject.status)
        continue
      }
      guard isLeader(), !Task.isCancelled else { return false }
      isPending = isPending || StatusDocument.isPending(change)
      switch try await write(change, input, report, time) {
      case .written, .unneeded: break
      case .refused(let error): refusal = error
      case .unacceptable(let reason):
        unacceptable[input.key] = input.subject.resourceVersion
        logger.error("the status of \(input.key) can't be written: \(reason)")
      }
      try? await Task.sleep(for: Self.spacing)
    }
    if let refusal { throw refusal }
    return isPending
  }

  private func write(
    _ change: JSONNode, _ input: StatusInput, _ report: DeliveryReport, _ time: String
  ) async throws(KubernetesError) -> Outcome {
    do throws(KubernetesError) {
      try await patch(change, input)
      return .written
    } catch {
      switch error {
      case .conflict: break
      case .notFound: return .unneeded
      // Rights and tokens come and go, of one kind perhaps; what is said of the content holds as long as the object.
      case .refused: return .refused(error)
      case .failed(400...499, let reason): return .unacceptable(reason)
      default: throw error
      }
    }
    // Somebody has written in between, perhaps this replica a moment ago: what stands there now decides.
    guard
      let object = try await client.object(
        input.subject.resource, namespace: input.key.name.namespace, name: input.key.name.name),
      let subject = StatusSubject(object, input.key.kind), let now = mesh.statusInput(input.key, subject),
      let change = StatusDocument(now, report, time: time).change
    else { return .unneeded }
    do throws(KubernetesError) {
      try await patch(change, now)
      return .written
    } catch {
      // Once more in the next pass, which the object's change brings about.
      if case .conflict = error { return .unneeded }
      throw error
    }
  }

  private func patch(_ change: JSONNode, _ input: StatusInput) async throws(KubernetesError) {
    let patch: JSONNode = [
      "metadata": ["resourceVersion": .text(input.subject.resourceVersion)], "status": change,
    ]
    try await client.merge(
      patch, into: input.subject.resource, namespace: input.key.name.namespace, name: input.key.name.name,
      subresource: "status", manager: ClusterNames.manager)
    logger.debug("wrote the status of \(input.key)")
  }

  private func signalled(within limit: Duration) async {
    let timer = Task { [continuation] in
      try await Task.sleep(for: limit)
      continuation.yield()
    }
    defer { timer.cancel() }
    for await _ in signals { return }
  }
}
