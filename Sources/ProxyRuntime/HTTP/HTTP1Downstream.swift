import NIOCore
import ProxyCore

/// A client's connection of HTTP/1.1: its requests one after another, pipelined ones too.
final class HTTP1Downstream: HTTPConnection, Downstream, StreamOwner, TickParticipant, Timed {
  private static let gather = 16 << 10
  /// An idle connection keeps no more than this for what it will write.
  private static let keptCapacity = 4096
  /// After a refusal its client may still be sending: so long is it read, so that the answer isn't lost by a reset
  /// (RFC 9112 §9.6).
  private static let lingering: NanoTime = .seconds(2)

  private enum State {
    case open
    /// The last response is on its way; what comes is thrown away.
    case lingering(until: NanoTime)
    case closed
  }

  private let worker: Worker
  private let stream: any ByteStream
  let facts: Session.Facts
  let opened: NanoTime
  private var reader = HTTP1Reader(.request)
  private(set) lazy var exchange = Exchange(worker: worker, downstream: self, client: client)
  private let client: HTTPClient
  private var state = State.open
  private var out: [UInt8] = []
  /// Bytes behind the request that is being answered.
  private var held = ByteBuffer()
  private var isAnswering = false
  private var requestEnded = false
  private var isScheduled = false
  private var clientHasEnded = false
  private var responseFraming = HTTP1Reader.Framing.none
  private var keepsAlive = true
  private var minorVersion = 1
  private var lastActive: NanoTime
  private let closed: (HTTP1Downstream) -> Void

  init(
    stream: any ByteStream, client: HTTPClient, facts: Session.Facts, worker: Worker,
    closed: @escaping (HTTP1Downstream) -> Void
  ) {
    self.stream = stream
    self.client = client
    self.facts = facts
    self.worker = worker
    self.closed = closed
    opened = worker.loop.now
    lastActive = opened
    stream.side = .downstream
    stream.owner = self
  }

  func start(with first: UnsafeRawBufferPointer) {
    if !first.isEmpty { received(first, from: .downstream) }
    if case .open = state, !isAnswering || !requestEnded { stream.resume() }
  }

  // MARK: The request

  func received(_ bytes: UnsafeRawBufferPointer, from side: RelayState.Side) {
    lastActive = worker.loop.now
    guard case .open = state else { return }
    if held.readableBytes > 0 || isAnswering && requestEnded {
      held.writeBytes(bytes)
      stream.pause()
      return
    }
    process(bytes)
  }

  private func process(_ input: UnsafeRawBufferPointer) {
    var bytes = input
    do {
      while case .open = state {
        if isAnswering, requestEnded {
          if !bytes.isEmpty {
            held.writeBytes(bytes)
            stream.pause()
          }
          break
        }
        guard let event = try reader.next(from: &bytes) else { break }
        take(event)
      }
    } catch {
      refuse(error)
    }
    exchange.flushUpstream()
    flush()
  }

  private func take(_ event: HTTP1Reader.Event) {
    switch event {
    case .head:
      isAnswering = true
      // A request without content is whole: its answer may end it before the reader says so.
      if case .none = reader.framing { requestEnded = true } else { requestEnded = false }
      minorVersion = reader.minorVersion
      keepsAlive = reader.isKeepAlive
      reader.exchangeHead(&exchange.head)
      exchange.head.removeConnectionFields()
      exchange.isUpgrade = reader.upgrade
      exchange.framing = reader.framing
      if requestEnded {
        // Taken now, so that the reader stands between messages while the answer is on its way, and behind it.
        var nothing = UnsafeRawBufferPointer(start: nil, count: 0)
        _ = try? reader.next(from: &nothing)
      }
      exchange.begin()
      if requestEnded { exchange.endedBody(trailers: nil) }
    case .body(let bytes): exchange.receivedBody(bytes)
    case .end:
      // Nobody waits for the rest of a request that was answered before it was whole.
      if isAnswering, !requestEnded {
        requestEnded = true
        exchange.endedBody(trailers: reader.trailers)
      }
    }
  }

  /// What can't be read can't be trusted to end where it seems to: the connection ends with the answer (RFC 9112 §9.6).
  private func refuse(_ error: HTTP1Error) {
    keepsAlive = false
    requestEnded = true
    if isAnswering {
      // The broken part is the body of a request under way.
      exchange.endAttempts(.abandoned)
      return exchange.reply(error.status, .downstreamProtocolError, because: error.reason)
    }
    isAnswering = true
    // What is left of the request before says nothing about this one.
    exchange.head.removeAll()
    exchange.refuse(error.status, .downstreamProtocolError, because: error.reason)
  }

  func pauseRequest() { stream.pause() }

  func resumeRequest() {
    guard case .open = state, !requestEnded else { return }
    stream.resume()
  }

  // MARK: The response

  var isBlocked: Bool { stream.isBlocked }
  var version: HTTPVersion { minorVersion == 0 ? .http10 : .http11 }

  func inform(_ head: HTTPHead) {
    guard case .open = state, minorVersion > 0 else { return }
    HTTP1Writer.response(head, framing: .none, keepAlive: true, minorVersion: minorVersion, into: &out)
  }

  func respond(_ head: HTTPHead, framing: HTTP1Reader.Framing) {
    guard case .open = state else { return }
    responseFraming = isWithoutContent(head.status) ? .none : framing
    switch responseFraming {
    case .untilClose, .chunked:
      // Whatever its length was before: chunks say it, and to HTTP/1.0 the connection's end.
      responseFraming = minorVersion > 0 ? .chunked : .untilClose
      if minorVersion == 0 { keepsAlive = false }
    case .none:
      // A response of HTTP/2 that its head ends: here its length has to be said.
      if !isWithoutContent(head.status) { responseFraming = .length(0) }
    case .length: break
    }
    if !requestEnded || worker.isDraining { keepsAlive = false }
    HTTP1Writer.response(
      head, framing: responseFraming, keepAlive: keepsAlive, minorVersion: minorVersion, into: &out)
  }

  /// What ends with its head whatever its fields say (RFC 9112 §6.3).
  private func isWithoutContent(_ status: Int) -> Bool {
    let head = exchange.head
    return status < 200 || status == 204 || status == 304 || head.equals(head.method, "HEAD")
      || 200...299 ~= status && head.equals(head.method, "CONNECT")
  }

  func sendBody(_ bytes: UnsafeRawBufferPointer) {
    guard case .open = state, !bytes.isEmpty, responseFraming != .none else { return }
    lastActive = worker.loop.now
    if case .chunked = responseFraming { HTTP1Writer.chunkHeader(bytes.count, into: &out) }
    if out.count + bytes.count <= Self.gather {
      out.append(contentsOf: bytes)
    } else {
      flush()
      stream.write(bytes)
    }
    if case .chunked = responseFraming { HTTP1Writer.chunkEnd(into: &out) }
  }

  func finishResponse(trailers: HTTPHead?) {
    guard case .open = state else { return }
    if case .chunked = responseFraming { HTTP1Writer.lastChunk(trailers: trailers, into: &out) }
    isAnswering = false
    // A head that went before the drain began couldn't say so.
    guard keepsAlive, requestEnded, !worker.isDraining, !clientHasEnded || held.readableBytes > 0 else {
      return linger()
    }
    // Never from within the event of another stream: the next request may run through to its own end.
    if held.readableBytes > 0 {
      schedule()
    } else {
      stream.resume()
    }
  }

  func abortResponse() { close(reset: true) }

  func flush() {
    guard !out.isEmpty else { return }
    if case .closed = state { return }
    out.withUnsafeBytes { stream.write($0) }
    if out.capacity > Self.keptCapacity { out = [] } else { out.removeAll(keepingCapacity: true) }
  }

  func upgrade(to upgrade: Upgrade) {
    let upstream = upgrade.stream
    guard case .open = state else { return upgrade.refuse() }
    flush()
    state = .closed
    worker.loop.stopTimer(self)
    closed(self)
    guard let session = worker.makeSession(facts, downstream: stream) else {
      stream.reset()
      return upgrade.refuse()
    }
    session.idleTimeout = upgrade.idleTimeout
    session.onClose { upgrade.slot?.release() }
    if !upgrade.pending.isEmpty { stream.write(upgrade.pending) }
    if held.readableBytes > 0 { held.withUnsafeReadableBytes { upstream.write($0) } }
    held = ByteBuffer()
    session.establish(upstream)
    if clientHasEnded { session.ended(.downstream) }
  }

  private func schedule() {
    guard !isScheduled else { return }
    isScheduled = true
    worker.loop.schedule(self)
  }

  func runInTick() {
    isScheduled = false
    guard case .open = state, !isAnswering else { return }
    let bytes = held
    held = ByteBuffer()
    bytes.withUnsafeReadableBytes { process($0) }
    guard case .open = state else { return }
    if clientHasEnded, !isAnswering, held.readableBytes == 0 { return close(reset: false) }
    if !isAnswering || !requestEnded { stream.resume() }
  }

  // MARK: The end

  func ended(_ side: RelayState.Side) {
    clientHasEnded = true
    switch state {
    case .open:
      // A client may end its direction behind its last request and still wait for the answer.
      if isAnswering, requestEnded { return }
      exchange.cancel()
      close(reset: !reader.isBetweenMessages)
    case .lingering: close(reset: false)
    case .closed: break
    }
  }

  private func linger() {
    flush()
    if clientHasEnded, !stream.isBlocked { return close(reset: false) }
    state = .lingering(until: worker.loop.now + Self.lingering)
    worker.loop.startTimer(self)
    stream.finish()
    stream.resume()
  }

  func timerFired(now: NanoTime) {
    if case .lingering(let end) = state, now >= end, !stream.isBlocked || now >= end + .seconds(60) {
      close(reset: false)
    }
  }

  func finished(_ side: RelayState.Side) { if clientHasEnded { close(reset: false) } }
  func unblocked(_ side: RelayState.Side) { exchange.downstreamUnblocked() }

  func failed(_ side: RelayState.Side, _ failure: StreamFailure) {
    exchange.cancel()
    close(reset: true)
  }

  func closeIfIdle(now: NanoTime) {
    guard now > lastActive + exchange.idleTimeout else { return }
    if isAnswering { exchange.endIdle() } else { close(reset: false) }
  }

  var announcesItsEnd: Bool { false }

  func drain() { if !isAnswering, reader.isBetweenMessages { close(reset: false) } }

  func abort() { close(reset: true) }

  func close(reset: Bool) {
    if case .closed = state { return }
    state = .closed
    exchange.cancel()
    worker.loop.stopTimer(self)
    if reset { stream.reset() } else { stream.close() }
    closed(self)
  }
}
