import ProxyCore

/// One request and its response on a client's connection.
final class HTTP2ServerStream: Downstream {
  private unowned let connection: HTTP2Downstream
  private(set) var id: UInt32 = 0
  private(set) lazy var exchange = Exchange(worker: worker, downstream: self, client: client)
  private let worker: Worker
  private let client: HTTPClient
  private var flow = HTTP2StreamFlow()
  private var requestEnded = false
  /// Of the last byte in either direction.
  private var lastActive: NanoTime = 0

  init(connection: HTTP2Downstream, worker: Worker, client: HTTPClient) {
    self.connection = connection
    self.worker = worker
    self.client = client
  }

  // MARK: The request

  func begin(_ id: UInt32, end: Bool) {
    enter(id, end: end)
    exchange.framing = end ? .none : BodyLength.framing(of: exchange.head)
    exchange.isUpgrade = false
    // A tunnel through a request isn't offered (RFC 9113 §8.5). To Envoy it is a route that nobody has made.
    guard !exchange.head.equals(exchange.head.method, "CONNECT") else {
      return exchange.refuse(501, .noRoute, because: "CONNECT is not served")
    }
    exchange.begin()
    if end { exchange.endedBody(trailers: nil) }
  }

  func refuseLarge(_ id: UInt32, end: Bool) {
    enter(id, end: end)
    exchange.refuse(431, .downstreamProtocolError, because: "the head is too large")
  }

  private func enter(_ id: UInt32, end: Bool) {
    self.id = id
    flow.reset()
    requestEnded = end
    lastActive = worker.loop.now
    connection.transport.http2.exchangeHead(&exchange.head)
  }

  func received(_ bytes: UnsafeRawBufferPointer) {
    lastActive = worker.loop.now
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

  /// An answered one whose rest its client doesn't take ends too.
  func endIfIdle(now: NanoTime) {
    guard now > lastActive + exchange.idleTimeout else { return }
    if exchange.isActive { exchange.endIdle() } else { abortResponse() }
  }

  func pauseRequest() { flow.pause() }
  func resumeRequest() { flow.resume(stream: id, over: connection.transport) }

  // MARK: The response

  var version: HTTPVersion { .http2 }

  var isBlocked: Bool { flow.isBlocked(connection.transport) }

  func inform(_ head: HTTPHead) { connection.transport.respond(head, stream: id, end: false) }

  /// A head without content ends its stream: gRPC knows a failure without trailers by that (Trailers-Only).
  func respond(_ head: HTTPHead, framing: HTTP1Reader.Framing) {
    connection.transport.respond(head, stream: id, end: framing == .none)
  }

  func sendBody(_ bytes: UnsafeRawBufferPointer) {
    lastActive = worker.loop.now
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
  func upgrade(to upgrade: Upgrade) {
    upgrade.refuse()
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
