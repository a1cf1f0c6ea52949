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
  /// Of the last byte in either direction.
  fileprivate var lastActive: NanoTime
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
    case .headers(let id, let end):
      let stream = spare.popLast() ?? HTTP2ServerStream(connection: self, worker: worker, client: client)
      streams[id] = stream
      stream.begin(id, end: end)
      touched.append(stream)
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
    if spare.count < Self.spareBound { spare.append(stream) } else { worker.loop.retire(stream) }
    endIfDone()
  }

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
    transport.end()
    finish()
  }

  func closeIfIdle(now: NanoTime) {
    let timeout = worker.view(of: client)?.policy.idleTimeout ?? Worker.idleTimeout
    guard now > lastActive + timeout else { return }
    // It had its time to take the last answers.
    if isDraining { return abort() }
    for stream in Array(streams.values) { stream.exchange.endIdle() }
    drain()
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

/// One request and its response on a client's connection.
final class HTTP2ServerStream: Downstream {
  private unowned let connection: HTTP2Downstream
  private(set) var id: UInt32 = 0
  private(set) lazy var exchange = Exchange(worker: worker, downstream: self, client: client)
  private let worker: Worker
  private let client: HTTPClient
  private var flow = HTTP2StreamFlow()
  private var requestEnded = false

  init(connection: HTTP2Downstream, worker: Worker, client: HTTPClient) {
    self.connection = connection
    self.worker = worker
    self.client = client
  }

  // MARK: The request

  func begin(_ id: UInt32, end: Bool) {
    self.id = id
    flow.reset()
    requestEnded = end
    connection.transport.http2.exchangeHead(&exchange.head)
    exchange.framing = end ? .none : BodyLength.framing(of: exchange.head)
    exchange.isUpgrade = false
    // A tunnel through a request isn't offered (RFC 9113 §8.5): neither is it here.
    guard !exchange.head.equals(exchange.head.method, "CONNECT") else { return refuseConnect() }
    exchange.begin()
    if end { exchange.endedBody(trailers: nil) }
  }

  private func refuseConnect() {
    connection.transport.respond(worker.refusal(501), stream: id, end: true)
    if !requestEnded { connection.transport.reset(id, .noError) }
    connection.forget(self)
  }

  func received(_ bytes: UnsafeRawBufferPointer) {
    exchange.receivedBody(bytes)
    flow.received(bytes.count, stream: id, over: connection.transport)
  }

  func receivedEnd(trailers: HTTPHead?) {
    requestEnded = true
    exchange.endedBody(trailers: trailers)
  }

  func wasReset() {
    exchange.cancel()
    connection.forget(self)
  }

  func pauseRequest() { flow.pause() }
  func resumeRequest() { flow.resume(stream: id, over: connection.transport) }

  // MARK: The response

  var isHTTP2: Bool { true }

  var isBlocked: Bool { flow.isBlocked(connection.transport) }

  func inform(_ head: HTTPHead) { connection.transport.respond(head, stream: id, end: false) }

  /// A head without content ends its stream: gRPC knows a failure without trailers by that (Trailers-Only).
  func respond(_ head: HTTPHead, framing: HTTP1Reader.Framing) {
    connection.transport.respond(head, stream: id, end: framing == .none)
  }

  func sendBody(_ bytes: UnsafeRawBufferPointer) {
    connection.lastActive = worker.loop.now
    flow.send(bytes, stream: id, over: connection.transport)
  }

  func finishResponse(trailers: HTTPHead?) {
    if flow.finish(trailers, stream: id, over: connection.transport) { ended() }
  }

  private func ended() {
    // Nobody waits for the rest of the request (RFC 9113 §8.1).
    if !requestEnded { connection.transport.reset(id, .noError) }
    connection.forget(self)
  }

  func abortResponse() {
    connection.transport.reset(id, .internalError)
    connection.forget(self)
  }

  func mayWrite() {
    let progress = flow.mayWrite(stream: id, over: connection.transport)
    if progress.ended { return ended() }
    if progress.unblocked { exchange.downstreamUnblocked() }
  }

  func flush() {}

  /// HTTP/2 has no such thing but extended CONNECT, which isn't offered.
  func upgrade(to stream: any ByteStream, pending: UnsafeRawBufferPointer) {
    stream.reset()
    abortResponse()
  }
}

/// How long a body is, where HTTP/2 doesn't frame it.
enum BodyLength {
  static func framing(of head: HTTPHead) -> HTTP1Reader.Framing {
    guard let slice = head.first("content-length"), let length = UInt64(head.text(slice)) else { return .chunked }
    return .length(length)
  }
}
