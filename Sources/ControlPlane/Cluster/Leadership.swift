import Foundation
import KubernetesAPI
import Logging
import Synchronization

/// Takes part in the election of the replica that writes for all.
final class Leadership: Sendable {
  private let client: KubernetesClient
  private let namespace: String
  private let logger: Logger
  private let onChange: @Sendable () -> Void
  private let election: Mutex<LeaseElection>
  private let start = ContinuousClock.now

  /// - Parameter replica: its name; made unlike that of a process before it.
  init(
    client: KubernetesClient, namespace: String, replica: String, logger: Logger,
    onChange: @escaping @Sendable () -> Void
  ) {
    self.client = client
    self.namespace = namespace
    self.logger = logger
    self.onChange = onChange
    let unique = String(UInt64.random(in: 0...UInt64.max), radix: 36)
    election = Mutex(LeaseElection(identity: "\(replica.prefix(200))_\(unique)"))
  }

  var isLeader: Bool { election.withLock { $0.isLeader(now: now) } }

  /// Until the task is cancelled; `release()` follows.
  func run() async {
    var led = false
    while !Task.isCancelled {
      do throws(KubernetesError) {
        try await round()
      } catch {
        logger.log(level: led ? .warning : .debug, "the Lease \(namespace)/\(Lease.name): \(error)")
      }
      let leads = isLeader
      if leads != led {
        logger.notice(leads ? "leads the replicas" : "doesn't lead the replicas any more")
        led = leads
        onChange()
      }
      try? await Task.sleep(for: .seconds(LeaseElection.interval * Double.random(in: 0.9...1.1)))
    }
  }

  private func round() async throws(KubernetesError) {
    let found = try await read()
    let sent = now
    guard let lease = election.withLock({ $0.decide(found, time: Lease.time(Date()), now: sent) }) else { return }
    do throws(KubernetesError) {
      try await write(lease)
    } catch {
      if case .conflict = error { return election.withLock { $0.lost() } }
      throw error
    }
    election.withLock { $0.written(sent: sent) }
  }

  /// Gives the Lease up, if it is held and the API server is there.
  func release() async {
    do throws(KubernetesError) {
      let found = try await read()
      guard let lease = election.withLock({ $0.release(found, time: Lease.time(Date())) }) else { return }
      try await write(lease)
      logger.notice("gave the Lease up")
    } catch {
      logger.warning("the Lease isn't given up: \(error)")
    }
  }

  private func read() async throws(KubernetesError) -> Lease? {
    try await client.object(Lease.resource, namespace: namespace, name: Lease.name).map { Lease($0) }
  }

  private func write(_ lease: Lease) async throws(KubernetesError) {
    let object = lease.object(namespace: namespace)
    if lease.resourceVersion.isEmpty {
      try await client.create(object, as: Lease.resource, namespace: namespace)
    } else {
      try await client.replace(object, as: Lease.resource, namespace: namespace, name: Lease.name)
    }
  }

  private var now: Double { (ContinuousClock.now - start) / .seconds(1) }
}
