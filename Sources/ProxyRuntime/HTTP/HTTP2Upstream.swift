import ProxyCore

/// A connection of HTTP/2 to an endpoint's application, shared by the requests of one source workload.
final class HTTP2Upstream: HTTP2TransportOwner {
  private static let streamsBound = 1000

  let transport: HTTP2Transport
  private unowned let group: HTTP2UpstreamGroup
  private var streams: [UInt32: HTTP2ClientStream] = [:]
  private var touched: [HTTP2ClientStream] = []
  private(set) var idleSince: NanoTime
  let loop: EventLoop
  let slot: ConnectionSlot
  /// Streams that were given out and not opened yet.
  private var promised = 0
  private var isLeaving = false
  private var isInEvent = false
  /// It hears nothing more.
  private(set) var isOver = false

  init(stream: any ByteStream, group: HTTP2UpstreamGroup, slot: ConnectionSlot, loop: EventLoop) {
    self.group = group
    self.slot = slot
    self.loop = loop
    idleSince = loop.now
    var limits = HTTP2Connection.Limits()
    limits.streams = Self.streamsBound
    transport = HTTP2Transport(stream: stream, side: .upstream, role: .client, limits: limits, loop: loop)
    transport.owner = self
    transport.start()
  }

  var isIdle: Bool { streams.isEmpty && promised == 0 }
  var hasRoom: Bool {
    !transport.isClosed && promised == 0 && transport.http2.acceptsStreams && !transport.isLeaving
  }

  /// A stream is given out.
  func promise() {
    promised += 1
    slot.becameBusy()
  }

  /// Nobody wants the stream any more.
  func unpromise() {
    promised -= 1
    if !isInEvent { settle() }
  }

  func open(_ stream: HTTP2ClientStream, _ head: HTTPHead, end: Bool) -> UInt32? {
    promised -= 1
    guard !transport.isClosed, let id = transport.open(head, end: end) else { return nil }
    streams[id] = stream
    return id
  }

  func forget(_ id: UInt32) {
    guard streams.removeValue(forKey: id) != nil else { return }
    if streams.isEmpty { idleSince = loop.now }
    group.hasRoomAgain(self)
    if !isInEvent { settle() }
  }

  /// It takes no new streams, and ends with its last one.
  func leave() {
    isLeaving = true
    group.leaves(self)
    if !isInEvent { settle() }
  }

  /// Without a stream it ends, if it is to, or its place is there for whoever needs one.
  func settle() {
    guard isIdle, !isOver else { return }
    guard isLeaving || !slot.mayIdle else { return slot.becameIdle() }
    isOver = true
    transport.end()
    group.leaves(self)
    slot.release()
  }

  func event(_ event: HTTP2Connection.Event) {
    isInEvent = true
    switch event {
    case .headers(let id, let end):
      guard let stream = streams[id] else { return }
      stream.responded(end: end)
      touch(stream)
    case .trailers(let id):
      guard let stream = streams.removeValue(forKey: id) else { return }
      touch(stream)
      stream.ended(trailers: transport.http2.head)
      ended()
    case .data(let id, let bytes):
      guard let stream = streams[id] else { return transport.consumed(bytes.count, stream: id) }
      stream.received(bytes)
      touch(stream)
    case .ended(let id):
      guard let stream = streams.removeValue(forKey: id) else { return }
      touch(stream)
      stream.ended(trailers: nil)
      ended()
    case .reset(let id, let code):
      guard let stream = streams.removeValue(forKey: id) else { return }
      stream.broken(code == HTTP2ErrorCode.refusedStream.rawValue ? .refused : .reset)
      ended()
    case .writable(let id): streams[id]?.mayWrite()
    case .connectionWritable: transportUnblocked()
    case .streamsAvailable: group.hasRoomAgain(self)
    case .goAway: leave()
    case .pong, .oversized: break
    }
  }

  private func touch(_ stream: HTTP2ClientStream) { if touched.last !== stream { touched.append(stream) } }

  private func ended() {
    if streams.isEmpty { idleSince = loop.now }
    group.hasRoomAgain(self)
  }

  func eventsEnded() {
    for stream in touched { stream.eventEnded() }
    touched.removeAll(keepingCapacity: true)
    isInEvent = false
    settle()
  }

  func transportUnblocked() { for stream in Array(streams.values) { stream.mayWrite() } }

  func transportFailed(_ reason: String) {
    let broken = streams.values
    streams = [:]
    isOver = true
    group.leaves(self)
    slot.release()
    for stream in broken { stream.broken(.closed) }
    // What came whole before the end.
    for stream in touched { stream.eventEnded() }
    touched.removeAll()
  }

  func close() {
    transport.close()
    transportFailed("closed")
  }
}

/// One request on a shared connection.
final class HTTP2ClientStream: Upstream {
  var owner: (any UpstreamOwner)?
  let isReused: Bool
  private let connection: HTTP2Upstream
  private var id: UInt32 = 0
  private var flow = HTTP2StreamFlow()
  private var isDone = false
  /// The request is whole, though its end may still wait for the windows.
  private var hasEnded = false
  private var head = HTTPHead()
  private var finishing: (any UpstreamOwner)?

  init(connection: HTTP2Upstream, isReused: Bool) {
    self.connection = connection
    self.isReused = isReused
    connection.promise()
  }

  var isBlocked: Bool { flow.isBlocked(connection.transport) }
  var version: HTTPVersion { .http2 }

  func send(_ head: HTTPHead, framing: HTTP1Reader.Framing, upgrade: Bool) {
    var head = head
    if head.scheme.isEmpty { head.setScheme("http".utf8) }
    guard let id = connection.open(self, head, end: framing == .none) else {
      isDone = true
      // In a later tick: the caller is in the middle of sending. Whoever has let go by then isn't told.
      _ = connection.loop.after(0) { [self] in
        let owner = owner
        self.owner = nil
        owner?.upstreamFailed(.refused)
        owner?.eventEnded()
      }
      return
    }
    self.id = id
    if framing == .none { hasEnded = true }
  }

  func sendBody(_ bytes: UnsafeRawBufferPointer) {
    guard !isDone, !hasEnded else { return }
    flow.send(bytes, stream: id, over: connection.transport)
  }

  func finishRequest(trailers: HTTPHead?) {
    guard !isDone, !hasEnded else { return }
    hasEnded = true
    _ = flow.finish(trailers, stream: id, over: connection.transport)
  }

  func pauseResponse() { flow.pause() }
  func resumeResponse() { flow.resume(stream: id, over: connection.transport) }

  func flush() {}

  func abandon() {
    owner = nil
    guard !isDone else { return }
    isDone = true
    if id != 0 {
      connection.transport.reset(id, .cancel)
      connection.forget(id)
    } else {
      connection.unpromise()
    }
  }

  // MARK: From the connection

  func responded(end: Bool) {
    connection.transport.http2.exchangeHead(&head)
    let isInformational = head.status < 200
    let framing: HTTP1Reader.Framing = end ? .none : BodyLength.framing(of: head)
    owner?.responded(&head, framing: framing, isInformational: isInformational)
    if end, !isInformational {
      connection.forget(id)
      ended(trailers: nil)
    }
  }

  func received(_ bytes: UnsafeRawBufferPointer) {
    owner?.received(bytes)
    flow.received(bytes.count, stream: id, over: connection.transport)
  }

  func ended(trailers: HTTPHead?) {
    guard !isDone else { return }
    isDone = true
    if !hasEnded { connection.transport.reset(id, .cancel) }
    let owner = owner
    self.owner = nil
    finishing = owner
    owner?.responseEnded(trailers: trailers)
  }

  func eventEnded() {
    owner?.eventEnded()
    finishing?.eventEnded()
    finishing = nil
  }

  func broken(_ failure: UpstreamFailure) {
    guard !isDone else { return }
    isDone = true
    let owner = owner
    self.owner = nil
    owner?.upstreamFailed(failure)
    owner?.eventEnded()
  }

  func mayWrite() {
    guard !isDone else { return }
    if flow.mayWrite(stream: id, over: connection.transport).unblocked { owner?.upstreamUnblocked() }
  }
}
