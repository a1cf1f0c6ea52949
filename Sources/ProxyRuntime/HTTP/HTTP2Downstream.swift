import ProxyCore

/// A client's connection of HTTP/2: an exchange for each of its streams.
final class HTTP2Downstream: HTTPConnection, HTTP2TransportOwner {
  /// A client may have as many requests under way on one connection.
  private static let streamsBound = 256
  private static let spareBound = 64
  private static let notice: NanoTime = .milliseconds(500)
  private static let streamWindow = 256 << 10

  let facts: Session.Facts
  let opened: NanoTime
  private let worker: Worker
  private let client: HTTPClient
  let transport: HTTP2Transport
  private var streams: [UInt32: HTTP2ServerStream] = [:]
  private var spare: [HTTP2ServerStream] = []
  /// Written to in this event.
  private var touched: [HTTP2ServerStream] = []
  private var isDraining = false
  /// The client was told the last stream that is served.
  private var isLeaving = false
  /// Of the last byte from the client, or of a request.
  private var lastActive: NanoTime
  private var isClosed = false
  private let closed: (HTTP2Downstream) -> Void

  init(
    stream: any ByteStream, client: HTTPClient, facts: Session.Facts, worker: Worker,
    closed: @escaping (HTTP2Downstream) -> Void
  ) {
    self.client = client
    self.facts = facts
    self.worker = worker
    self.closed = closed
    opened = worker.loop.now
    lastActive = opened
    var limits = HTTP2Connection.Limits()
    limits.streams = Self.streamsBound
    // With the streams' number the bound of what lies unread for one connection: 64 MiB.
    limits.streamWindow = HTTP2Downstream.streamWindow
    transport = HTTP2Transport(stream: stream, side: .downstream, role: .server, limits: limits, loop: worker.loop)
    transport.owner = self
  }

  func start(with first: UnsafeRawBufferPointer) {
    if !first.isEmpty { transport.received(first, from: .downstream) }
    transport.start()
  }

  func event(_ event: HTTP2Connection.Event) {
    lastActive = worker.loop.now
    switch event {
    case .headers(let id, let end): takeRequest(id) { $0.begin(id, end: end) }
    case .oversized(let id, let end): takeRequest(id) { $0.refuseLarge(id, end: end) }
    case .trailers(let id):
      guard let stream = streams[id] else { return }
      stream.receivedEnd(trailers: transport.http2.head)
      touched.append(stream)
    case .data(let id, let bytes):
      guard let stream = streams[id] else { return transport.consumed(bytes.count, stream: id) }
      stream.received(bytes)
      if touched.last !== stream { touched.append(stream) }
    case .ended(let id):
      guard let stream = streams[id] else { return }
      stream.receivedEnd(trailers: nil)
      if touched.last !== stream { touched.append(stream) }
    case .reset(let id, _): streams[id]?.wasReset()
    case .writable(let id): streams[id]?.mayWrite()
    case .connectionWritable: for stream in Array(streams.values) { stream.mayWrite() }
    case .goAway, .streamsAvailable, .pong: break
    }
  }

  private func takeRequest(_ id: UInt32, _ take: (HTTP2ServerStream) -> Void) {
    let stream = spare.popLast() ?? HTTP2ServerStream(connection: self, worker: worker, client: client)
    streams[id] = stream
    take(stream)
    touched.append(stream)
  }

  func eventsEnded() {
    for stream in touched { stream.exchange.flushUpstream() }
    touched.removeAll(keepingCapacity: true)
  }

  func transportUnblocked() { for stream in Array(streams.values) { stream.mayWrite() } }

  func transportFailed(_ reason: String) {
    if !streams.isEmpty || reason.isEmpty {
      worker.log(.debug, "\(client.workload) to \(client.service):\(client.port): \(reason)")
    }
    close()
  }

  /// A stream's exchange is over, or was reset.
  func forget(_ stream: HTTP2ServerStream) {
    guard streams.removeValue(forKey: stream.id) != nil else { return }
    lastActive = worker.loop.now
    if spare.count < Self.spareBound { spare.append(stream) } else { worker.loop.retire(stream) }
    endIfDone()
  }

  var announcesItsEnd: Bool { true }

  func drain() {
    guard !isDraining else { return }
    isDraining = true
    transport.announceGoAway()
    // A round trip later the client knows: what it has sent before that is here.
    _ = worker.loop.after(Self.notice) { [weak self] in self?.goAway() }
  }

  private func goAway() {
    guard !isClosed else { return }
    isLeaving = true
    transport.goAway(.noError)
    endIfDone()
  }

  private func endIfDone() {
    guard isLeaving, streams.isEmpty else { return }
    // The worker isn't drained before.
    transport.end { [self] in finish() }
  }

  func closeIfIdle(now: NanoTime) {
    for stream in Array(streams.values) { stream.endIfIdle(now: now) }
    let timeout = worker.view(of: client)?.policy.idleTimeout ?? Worker.idleTimeout
    guard streams.isEmpty, now > lastActive + timeout else { return }
    // It had its time.
    if isDraining { abort() } else { drain() }
  }

  func abort() {
    transport.close()
    close()
  }

  private func close() {
    guard !isClosed else { return }
    let streams = streams.values
    self.streams = [:]
    for stream in streams { stream.exchange.cancel() }
    finish()
  }

  private func finish() {
    guard !isClosed else { return }
    isClosed = true
    closed(self)
  }
}
