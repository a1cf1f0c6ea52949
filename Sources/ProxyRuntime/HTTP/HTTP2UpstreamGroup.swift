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
  /// - Parameter mayWait: also where none is on its way.
  func wait(
    _ client: HTTPClient, _ cluster: Cluster, mayWait: Bool, _ completion: @escaping HTTP2StreamWaiter.Completion
  ) -> HTTP2StreamWaiter {
    let waiter = HTTP2StreamWaiter(client, cluster, mayWait: mayWait, completion)
    if waiting.count >= Self.waitingBound { waiting.removeAll(where: \.isSettled) }
    guard waiting.count < Self.waitingBound else {
      waiter.settle(.failure(.overflow))
      return waiter
    }
    waiting.append(waiter)
    waiter.giveUp(after: cluster.policy.connectTimeout, worker.loop)
    openOneMore()
    return waiter
  }

  /// Where somebody waits, nothing is being opened, and there may be another. Else it is others' end that is waited for,
  /// as the breaker's `pending` counts.
  /// - Returns: whether it makes use of a free place, or waits for one.
  @discardableResult private func openOneMore() -> Bool {
    while waiting.first?.isSettled == true { waiting.removeFirst() }
    guard opening == nil, let first = waiting.first else { return false }
    let (client, cluster) = (first.client, first.cluster)
    guard connections.count < Self.connectionsBound else {
      becomePending()
      return false
    }
    guard let slot = worker.upstreams.takeSlot(of: cluster) else {
      becomePending()
      if slotWaiter == nil { waitForSlot(cluster) }
      return true
    }
    let target = StreamTarget(
      source: client.workload, client: client.address, endpoint: key.target, timeout: cluster.policy.connectTimeout)
    let attempt = worker.open(target) { [unowned self] result in
      opening = nil
      switch result {
      case .success(let stream):
        let connection = HTTP2Upstream(stream: stream, group: self, slot: slot, loop: worker.loop)
        connections.append(connection)
        serve(connection)
        connection.settle()
        openOneMore()
      case .failure(let failure):
        // Those that are open may still serve who waits.
        if connections.isEmpty {
          let failed = waiting
          waiting = []
          for waiter in failed { waiter.settle(.failure(.connect(failure))) }
        } else {
          becomePending()
        }
        slot.release()
      }
    }
    if !attempt.isSettled { opening = attempt }
    return true
  }

  /// Nothing is on its way to those who wait.
  private func becomePending() {
    let known = waiting.lastIndex(where: \.isPending).map { $0 + 1 } ?? 0
    for waiter in Array(waiting[known...]) where !waiter.isSettled && !waiter.becomePending() {
      waiter.settle(.failure(.overflow))
    }
  }

  private func waitForSlot(_ cluster: Cluster) {
    slotWaiter = cluster.waitForSlot(isPending: false, patience: cluster.policy.connectTimeout, worker.loop) {
      [weak self] outcome in
      self?.slotWaiter = nil
      // Whoever came later may have patience left.
      let isUsed = self?.openOneMore() == true
      if outcome == .mayOpen, !isUsed { cluster.wakeWaiter() }
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
    openOneMore()
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
    for connection in connections where connection.transport.isLeaving { connection.leave() }
    for connection in connections where connection.isIdle && now > connection.idleSince + UpstreamPool.idleTimeout {
      connection.close()
    }
    guard connections.isEmpty, leaving.isEmpty, opening == nil, waiting.allSatisfy(\.isSettled) else { return false }
    slotWaiter?.cancel()
    return true
  }

  /// Idle connections close at once, others with their last stream.
  func drain() {
    for connection in Array(connections) { connection.leave() }
  }
}

/// A request that waits for a stream: settled once, or cancelled without a word.
final class HTTP2StreamWaiter: UpstreamOpening {
  typealias Completion = (Result<any Upstream, UpstreamFailure>) -> Void

  fileprivate let client: HTTPClient
  fileprivate let cluster: Cluster
  private let mayWait: Bool
  private var completion: Completion?
  private var alarm: Alarm?
  private var pending: CircuitLimits?

  fileprivate init(
    _ client: HTTPClient, _ cluster: Cluster, mayWait: Bool, _ completion: @escaping Completion
  ) {
    self.client = client
    self.cluster = cluster
    self.mayWait = mayWait
    self.completion = completion
  }

  var isSettled: Bool { completion == nil }

  fileprivate var isPending: Bool { pending != nil }

  /// false: as many requests wait as may.
  fileprivate func becomePending() -> Bool {
    guard pending == nil else { return true }
    let limits = cluster.policy.limits
    guard mayWait, limits.tryAcquire(.pending) else { return false }
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
