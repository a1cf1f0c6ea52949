import DequeModule
import ProxyCore

/// The connections of HTTP/2 from one source workload to one endpoint: few, since each carries many requests.
final class HTTP2UpstreamGroup {
  private static let connectionsBound = 16
  private static let waitingBound = 4096

  let key: UpstreamPool.Key
  private unowned let worker: Worker
  private var connections: [HTTP2Upstream] = []
  /// Gone from the list, with streams that go on.
  private var leaving: [HTTP2Upstream] = []
  private var waiting: Deque<HTTP2StreamWaiter> = []
  private var opening: StreamOpening?
  /// For the place of one more connection.
  private var slotWaiter: ConnectionWaiter?

  init(key: UpstreamPool.Key, worker: Worker) {
    self.key = key
    self.worker = worker
  }

  func stream() -> HTTP2ClientStream? {
    guard let connection = connections.first(where: \.hasRoom) else { return nil }
    return HTTP2ClientStream(connection: connection, isReused: true)
  }

  /// Waits for a connection with room; opens one more where there may be.
  func wait(
    _ client: HTTPClient, _ cluster: Cluster, _ completion: @escaping HTTP2StreamWaiter.Completion
  ) -> HTTP2StreamWaiter {
    let waiter = HTTP2StreamWaiter(completion)
    if waiting.count >= Self.waitingBound { waiting.removeAll(where: \.isSettled) }
    guard waiting.count < Self.waitingBound else {
      waiter.settle(.failure(.overflow))
      return waiter
    }
    waiting.append(waiter)
    openOneMore(client, cluster)
    guard !waiter.isSettled else { return waiter }
    // Nothing is on its way to it: it waits for others to end, as the breaker's `pending` counts.
    guard opening != nil || waiter.becomePending(cluster.policy.limits) else {
      waiter.settle(.failure(.overflow))
      return waiter
    }
    waiter.giveUp(after: cluster.policy.connectTimeout, worker.loop)
    return waiter
  }

  /// Where somebody waits, nothing is being opened, and there may be another.
  private func openOneMore(_ client: HTTPClient, _ cluster: Cluster) {
    while waiting.first?.isSettled == true { waiting.removeFirst() }
    guard !waiting.isEmpty, opening == nil, slotWaiter == nil, connections.count < Self.connectionsBound else { return }
    guard let slot = worker.upstreams.takeSlot(of: cluster) else { return waitForSlot(client, cluster) }
    let target = StreamTarget(
      source: client.workload, client: client.address, endpoint: key.target, timeout: cluster.policy.connectTimeout)
    let attempt = worker.open(target) { [unowned self] result in
      opening = nil
      switch result {
      case .success(let stream):
        let connection = HTTP2Upstream(stream: stream, group: self, slot: slot, loop: worker.loop)
        connections.append(connection)
        serve(connection)
        openOneMore(client, cluster)
      case .failure(let failure):
        slot.release()
        // Those that are open may still serve who waits.
        guard connections.isEmpty else { return }
        let failed = waiting
        waiting = []
        for waiter in failed { waiter.settle(.failure(.connect(failure))) }
      }
    }
    if !attempt.isSettled { opening = attempt }
  }

  private func waitForSlot(_ client: HTTPClient, _ cluster: Cluster) {
    slotWaiter = cluster.waitForSlot(isPending: false, patience: cluster.policy.connectTimeout, worker.loop) {
      [weak self] outcome in
      self?.slotWaiter = nil
      if outcome == .mayOpen { self?.openOneMore(client, cluster) }
    }
  }

  private func serve(_ connection: HTTP2Upstream) {
    while connection.hasRoom, let waiter = waiting.popFirst() {
      guard !waiter.isSettled else { continue }
      waiter.settle(.success(HTTP2ClientStream(connection: connection, isReused: false)))
    }
  }

  func hasRoomAgain(_ connection: HTTP2Upstream) { if !waiting.isEmpty { serve(connection) } }

  /// It takes no new streams, or is gone.
  func leaves(_ connection: HTTP2Upstream) {
    connections.removeAll { $0 === connection }
    leaving.removeAll { $0 === connection }
    if !connection.isOver { leaving.append(connection) }
  }

  /// Ends an idle connection whose place that cluster needs elsewhere.
  func yieldSlot(of cluster: Cluster) -> Bool {
    guard let idle = connections.first(where: { $0.isIdle && $0.slot.isOf(cluster) }) else { return false }
    idle.slot.yield()
    idle.close()
    return true
  }

  /// true where nothing is left of it.
  func sweep(now: NanoTime) -> Bool {
    for connection in connections where connection.isIdle && now > connection.idleSince + UpstreamPool.idleTimeout {
      connection.close()
    }
    return connections.isEmpty && leaving.isEmpty && opening == nil && waiting.allSatisfy(\.isSettled)
  }

  /// Idle connections close at once, others with their last stream.
  func drain() {
    for connection in Array(connections) { connection.leave() }
  }
}

/// A request that waits for a stream: settled once, or cancelled without a word.
final class HTTP2StreamWaiter: UpstreamOpening {
  typealias Completion = (Result<any Upstream, UpstreamFailure>) -> Void

  private var completion: Completion?
  private var alarm: Alarm?
  private var pending: CircuitLimits?

  fileprivate init(_ completion: @escaping Completion) { self.completion = completion }

  var isSettled: Bool { completion == nil }

  /// false: as many requests wait as may.
  fileprivate func becomePending(_ limits: CircuitLimits) -> Bool {
    guard limits.tryAcquire(.pending) else { return false }
    pending = limits
    return true
  }

  fileprivate func giveUp(after patience: NanoTime, _ loop: EventLoop) {
    alarm = loop.after(patience) { [unowned self] in
      settle(.failure(pending == nil ? .connect(.timeout) : .overflow))
    }
  }

  fileprivate func settle(_ result: Result<any Upstream, UpstreamFailure>) {
    let completion = completion
    cancel()
    completion?(result)
  }

  func cancel() {
    completion = nil
    alarm?.cancel()
    alarm = nil
    pending?.release(.pending)
    pending = nil
  }
}
