import ProxyCore

/// A connection of HTTP/1.1 to an endpoint's application: one exchange at a time, then idle in its pool until the next.
final class HTTP1Upstream: Upstream, StreamOwner {
  /// Rests of unwanted responses up to this size, and for so long, are read so that the connection can go on.
  private static let discardBound = 64 << 10
  private static let discardTime: NanoTime = .seconds(1)
  /// What is written in one event is collected up to this size.
  private static let gather = 16 << 10
  /// An idle connection keeps no more than this for what it will write.
  private static let keptCapacity = 4096

  weak var owner: (any UpstreamOwner)?
  let target: UpstreamPool.Key
  private(set) var isReused = false
  private(set) var idleSince: NanoTime = 0
  private(set) var isClosed = false
  let slot: ConnectionSlot?
  private let stream: any ByteStream
  private unowned let pool: UpstreamPool
  private var reader = HTTP1Reader(.response)
  private var head = HTTPHead()
  private var out: [UInt8] = []
  private var framing = HTTP1Reader.Framing.none
  private var isBusy = false
  private var requestEnded = false
  /// The final head of the response has come.
  private var hasHead = false
  private var isDiscarding = false
  private var discarded = 0
  private var discardAlarm: Alarm?

  init(stream: any ByteStream, target: UpstreamPool.Key, pool: UpstreamPool, slot: ConnectionSlot?) {
    self.stream = stream
    self.target = target
    self.pool = pool
    self.slot = slot
    stream.side = .upstream
    stream.owner = self
    stream.resume()
  }

  var isBlocked: Bool { stream.isBlocked }
  var isLeaving: Bool { stream.isLeaving }
  var version: HTTPVersion { reader.minorVersion == 0 ? .http10 : .http11 }

  // MARK: The request

  func send(_ head: HTTPHead, framing: HTTP1Reader.Framing, upgrade: Bool) {
    isBusy = true
    hasHead = false
    requestEnded = false
    self.framing = framing
    reader.expectResponse(
      toHead: head.equals(head.method, "HEAD"), toConnect: head.equals(head.method, "CONNECT"), toUpgrade: upgrade)
    HTTP1Writer.request(head, framing: framing, keepAlive: true, forwardsUpgrade: upgrade, into: &out)
  }

  func sendBody(_ bytes: UnsafeRawBufferPointer) {
    guard !isClosed, !bytes.isEmpty else { return }
    if case .chunked = framing { HTTP1Writer.chunkHeader(bytes.count, into: &out) }
    if out.count + bytes.count <= Self.gather {
      out.append(contentsOf: bytes)
    } else {
      flush()
      stream.write(bytes)
    }
    if case .chunked = framing { HTTP1Writer.chunkEnd(into: &out) }
  }

  func finishRequest(trailers: HTTPHead?) {
    guard !isClosed else { return }
    requestEnded = true
    if case .chunked = framing { HTTP1Writer.lastChunk(trailers: trailers, into: &out) }
  }

  func flush() {
    guard !out.isEmpty, !isClosed else { return }
    out.withUnsafeBytes { stream.write($0) }
    if out.capacity > Self.keptCapacity { out = [] } else { out.removeAll(keepingCapacity: true) }
  }

  func abandon() {
    owner = nil
    // A server that still works on its answer learns from the end of the connection that nobody waits for it.
    guard isBusy, requestEnded, hasHead, !isClosed, !reader.isTunnel else { return close() }
    isDiscarding = true
    discarded = 0
    discardAlarm = pool.loop.after(Self.discardTime) { [unowned self] in close() }
    stream.resume()
  }

  // MARK: The response

  func pauseResponse() { stream.pause() }
  func resumeResponse() { stream.resume() }

  func received(_ bytes: UnsafeRawBufferPointer, from side: RelayState.Side) {
    var bytes = bytes
    guard isBusy else {
      // Nothing was asked: whatever this is, it belongs to no request.
      return close()
    }
    do {
      while isBusy, let event = try reader.next(from: &bytes) {
        guard take(event, rest: bytes) else { break }
      }
    } catch {
      return fail(.malformed(error.reason))
    }
    owner?.eventEnded()
  }

  /// false: the connection is somebody else's now, or closed.
  private func take(_ event: HTTP1Reader.Event, rest: UnsafeRawBufferPointer) -> Bool {
    if isDiscarding { return discard(event, rest) }
    switch event {
    case .head:
      if reader.isTunnel { return upgrade(rest) }
      takeHead()
      hasHead = !reader.isInformational
      owner?.responded(&head, framing: reader.framing, isInformational: reader.isInformational)
    case .body(let bytes): owner?.received(bytes)
    case .end:
      if !reader.isInformational { completed(rest) }
    }
    return !isClosed
  }

  private func takeHead() {
    reader.exchangeHead(&head)
    head.removeConnectionFields()
  }

  private func discard(_ event: HTTP1Reader.Event, _ rest: UnsafeRawBufferPointer) -> Bool {
    switch event {
    case .head: if reader.isTunnel { close() }
    case .body(let bytes):
      discarded += bytes.count
      if discarded > Self.discardBound { close() }
    case .end: if !reader.isInformational { completed(rest) }
    }
    return !isClosed
  }

  private func upgrade(_ rest: UnsafeRawBufferPointer) -> Bool {
    takeHead()
    // After CONNECT it says nothing, and must not be sent (RFC 9110 §9.3.6).
    head.remove("content-length".utf8)
    owner?.responded(&head, framing: .none, isInformational: false)
    guard let owner else {
      close()
      return false
    }
    self.owner = nil
    isClosed = true
    pool.remove(self)
    owner.upgraded(to: Upgrade(stream: stream, pending: rest, slot: slot))
    owner.eventEnded()
    return false
  }

  /// - Parameter rest: what came behind the response: nobody asked for it, so that no later request may meet it.
  private func completed(_ rest: UnsafeRawBufferPointer) {
    let owner = owner
    self.owner = nil
    stopDiscarding()
    isBusy = false
    let goesOn = reader.isKeepAlive && requestEnded && reader.isBetweenMessages && rest.isEmpty
    if !goesOn { close() }
    owner?.responseEnded(trailers: reader.trailers)
    owner?.eventEnded()
    guard goesOn, !isClosed else { return }
    isReused = true
    idleSince = pool.loop.now
    stream.resume()
    // Last: it may be another request's before this returns.
    pool.keep(self)
  }

  func ended(_ side: RelayState.Side) {
    guard isBusy else { return close() }
    do {
      guard let event = try reader.ended(), case .end = event else { return fail(.closed) }
      if isDiscarding {
        close()
      } else {
        let owner = owner
        self.owner = nil
        isBusy = false
        close()
        owner?.responseEnded(trailers: nil)
        owner?.eventEnded()
      }
    } catch {
      fail(reader.isBetweenMessages ? .closed : .reset)
    }
  }

  func finished(_ side: RelayState.Side) {}

  func unblocked(_ side: RelayState.Side) { owner?.upstreamUnblocked() }

  func failed(_ side: RelayState.Side, _ failure: StreamFailure) {
    // A reset before the first byte of an answer, on a connection that was idle: its server had closed it.
    fail(reader.isBetweenMessages ? .closed : .reset)
  }

  private func fail(_ failure: UpstreamFailure) {
    let owner = owner
    self.owner = nil
    close()
    owner?.upstreamFailed(failure)
    owner?.eventEnded()
  }

  private func stopDiscarding() {
    isDiscarding = false
    discardAlarm?.cancel()
    discardAlarm = nil
  }

  func close() {
    guard !isClosed else { return }
    isClosed = true
    isBusy = false
    stopDiscarding()
    pool.remove(self)
    stream.reset()
    slot?.release()
  }
}
