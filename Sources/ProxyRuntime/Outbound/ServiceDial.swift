import MeshModel
import ProxyCore

/// A connection of bytes on its way to one of a Service's endpoints, as the Service's policies have it: balanced, counted
/// by the breaker, judged by outlier detection, and tried elsewhere where an endpoint doesn't answer. It lives as long as
/// its session.
final class ServiceDial {
  static let attempts = 3

  private unowned let worker: Worker
  private unowned let session: Session
  private let client: HTTPClient
  private let cluster: Cluster
  private var slot: ConnectionSlot?
  private var waiter: ConnectionWaiter?
  private var tried: [SocketAddress] = []
  private var current: EndpointAttempt?
  private var lastFailure: String?

  init(_ session: Session, _ client: HTTPClient, _ cluster: Cluster, worker: Worker) {
    self.session = session
    self.client = client
    self.cluster = cluster
    self.worker = worker
  }

  func start() {
    session.connectTimeout = cluster.policy.connectTimeout
    session.onClose { [self] in end() }
    place()
  }

  private func place() {
    slot = cluster.takeSlot()
    if slot != nil { return next() }
    waiter = cluster.waitForSlot(patience: cluster.policy.connectTimeout, worker.loop) { [unowned self] outcome in
      waiter = nil
      switch outcome {
      case .mayOpen: place()
      case .gaveUp: worker.give(up: session, .overflow)
      }
    }
    if waiter == nil { worker.give(up: session, .overflow) }
  }

  private func next() {
    cluster.refresh(worker, here: worker.snapshot.workload(id: client.workload))
    let index = cluster.endpoints.choose(
      hash: hash, excluding: tried, now: worker.loop.now, random: &worker.loop.random)
    guard let index else { return worker.give(up: session, .noHealthyUpstream) }
    let target = cluster.targets[index]
    guard !tried.contains(target.address) else { return worker.give(up: session, .connectFailure, lastFailure) }
    let attempt = cluster.endpoints.started(index)
    current = attempt
    tried.append(target.address)
    let began = worker.loop.now
    worker.describe(&session.facts, target)
    // Kept by the attempt: the session's end lets it go.
    worker.open(session, to: target) { [self] in
      observed(attempt, .success, since: began)
    } failed: { [self] failure in
      observed(attempt, .failure, since: began)
      letGo()
      lastFailure = failure.description
      guard tried.count < Self.attempts else { return worker.give(up: session, .connectFailure, lastFailure) }
      next()
    }
  }

  /// Of the client, where the policy binds it to an endpoint: a connection has nothing else to be known by.
  private var hash: UInt64? {
    switch cluster.policy.loadBalancer.algorithm {
    case .ringHash(.sourceAddress), .maglev(.sourceAddress): StableHash.hash(client.address.ip)
    default: nil
    }
  }

  private func observed(_ attempt: EndpointAttempt, _ outcome: AttemptOutcome, since: NanoTime) {
    let now = worker.loop.now
    cluster.endpoints.observed(attempt, outcome: outcome, latency: now - since, now: now)
  }

  /// The endpoint doesn't carry it any more.
  private func letGo() {
    guard let attempt = current else { return }
    current = nil
    // What it was worth is known since it was connected.
    cluster.endpoints.finished(attempt, outcome: .abandoned, latency: 0, now: worker.loop.now)
  }

  private func end() {
    waiter?.cancel()
    waiter = nil
    letGo()
    slot?.release()
    slot = nil
  }
}
