import ProxyCore

/// The connections of HTTP/2 from one source workload to one endpoint: few, since each carries many requests.
final class HTTP2UpstreamGroup {
  private static let connectionsBound = 16
  private static let waitingBound = 4096

  typealias Completion = (Result<any Upstream, UpstreamFailure>) -> Void

  let key: UpstreamPool.Key
  private unowned let worker: Worker
  private var connections: [HTTP2Upstream] = []
  /// Gone from the list, with streams that go on.
  private var leaving: [HTTP2Upstream] = []
  private var waiting: [(deadline: NanoTime, completion: Completion)] = []
  private var opening: StreamOpening?

  init(key: UpstreamPool.Key, worker: Worker) {
    self.key = key
    self.worker = worker
  }

  func stream() -> HTTP2ClientStream? {
    guard let connection = connections.first(where: \.hasRoom) else { return nil }
    return HTTP2ClientStream(connection: connection, isReused: true)
  }

  /// Waits for a connection with room; opens one more where there may be.
  func wait(_ client: HTTPClient, timeout: NanoTime, _ completion: @escaping Completion) {
    guard waiting.count < Self.waitingBound else { return completion(.failure(.overflow)) }
    waiting.append((worker.loop.now + timeout, completion))
    openOneMore(client, timeout)
  }

  /// Where somebody waits, nothing is being opened, and there may be another.
  private func openOneMore(_ client: HTTPClient, _ timeout: NanoTime) {
    guard !waiting.isEmpty, opening == nil, connections.count < Self.connectionsBound else { return }
    let target = StreamTarget(source: client.workload, client: client.address, endpoint: key.target, timeout: timeout)
    let attempt = worker.open(target) { [unowned self] result in
      opening = nil
      switch result {
      case .success(let stream):
        let connection = HTTP2Upstream(stream: stream, group: self, loop: worker.loop)
        connections.append(connection)
        serve(connection)
        openOneMore(client, timeout)
      case .failure(let failure):
        let failed = waiting
        waiting = []
        for waiter in failed { waiter.completion(.failure(.connect(failure))) }
      }
    }
    if !attempt.isSettled { opening = attempt }
  }

  private func serve(_ connection: HTTP2Upstream) {
    while !waiting.isEmpty, connection.hasRoom {
      let waiter = waiting.removeFirst()
      waiter.completion(.success(HTTP2ClientStream(connection: connection, isReused: false)))
    }
  }

  func hasRoomAgain(_ connection: HTTP2Upstream) { if !waiting.isEmpty { serve(connection) } }

  /// It takes no new streams, or is gone.
  func leaves(_ connection: HTTP2Upstream) {
    connections.removeAll { $0 === connection }
    leaving.removeAll { $0 === connection }
    if !connection.isOver { leaving.append(connection) }
  }

  /// true where nothing is left of it.
  func sweep(now: NanoTime) -> Bool {
    for connection in connections where connection.isIdle && now > connection.idleSince + UpstreamPool.idleTimeout {
      connection.close()
    }
    while let first = waiting.first, now > first.deadline {
      waiting.removeFirst()
      first.completion(.failure(.connect(.timeout)))
    }
    return connections.isEmpty && leaving.isEmpty && waiting.isEmpty && opening == nil
  }

  /// Idle connections close at once, others with their last stream.
  func drain() {
    for connection in Array(connections) { connection.leave() }
  }
}
