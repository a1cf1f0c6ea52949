import struct NIOCore.ByteBuffer
import ProxyCore

/// Who a connection of HTTP/2 belongs to.
protocol HTTP2TransportOwner: AnyObject {
  func event(_ event: HTTP2Connection.Event)
  /// All events of a read were told.
  func eventsEnded()
  /// Bytes may be written again.
  func transportUnblocked()
  /// The peer is gone, or broke the protocol: no call follows.
  func transportFailed(_ reason: String)
}

/// A byte stream that carries HTTP/2: what all streams wrote in one tick leaves in one write.
final class HTTP2Transport: StreamOwner, TickParticipant {
  /// Streams stop writing above this.
  private static let congestion = 256 << 10
  /// What the protocol itself owes to a peer that reads nothing: then it's over.
  private static let owedBound = 1 << 20

  /// How long a peer may take to read the last bytes.
  private static let farewell: NanoTime = .seconds(5)

  var http2: HTTP2Connection
  weak var owner: (any HTTP2TransportOwner)?
  private(set) var isClosed = false
  private let stream: any ByteStream
  private let side: RelayState.Side
  private let loop: EventLoop
  private var out = ByteBuffer()
  private var isScheduled = false
  private var endsAfterFlush = false
  private var hasReported = false
  /// Whoever has ended it waits for the peer to have the last bytes.
  private var whenClosed: (() -> Void)?

  init(
    stream: any ByteStream, side: RelayState.Side, role: HTTP2Connection.Role, limits: HTTP2Connection.Limits,
    loop: EventLoop
  ) {
    self.stream = stream
    self.side = side
    self.loop = loop
    http2 = HTTP2Connection(role: role, limits: limits, into: &out)
    stream.side = side
    stream.owner = self
    wantsFlush()
  }

  /// Whoever hears that it is will hear `transportUnblocked`.
  var isCongested: Bool {
    let congested = out.readableBytes > Self.congestion || stream.isBlocked
    if congested { hasReported = true }
    return congested
  }

  /// What carries it ends.
  var isLeaving: Bool { stream.isLeaving }

  func start() { stream.resume() }

  // MARK: Sending

  func open(_ head: HTTPHead, end: Bool) -> UInt32? {
    defer { wantsFlush() }
    return http2.open(head, end: end, into: &out)
  }

  func respond(_ head: HTTPHead, stream id: UInt32, end: Bool) {
    http2.respond(head, stream: id, end: end, into: &out)
    wantsFlush()
  }

  func send(_ bytes: UnsafeRawBufferPointer, stream id: UInt32, end: Bool) -> Int {
    guard !isClosed else { return bytes.count }
    defer { wantsFlush() }
    return http2.send(bytes, stream: id, end: end, into: &out)
  }

  func sendTrailers(_ head: HTTPHead, stream id: UInt32) {
    http2.sendTrailers(head, stream: id, into: &out)
    wantsFlush()
  }

  func reset(_ id: UInt32, _ code: HTTP2ErrorCode) {
    http2.reset(id, code: code, into: &out)
    wantsFlush()
  }

  func consumed(_ count: Int, stream id: UInt32) {
    http2.consumed(count, stream: id, into: &out)
    if out.readableBytes > 0 { wantsFlush() }
  }

  /// The first step of a graceful end (RFC 9113 §6.8): what is on its way is still taken.
  func announceGoAway() {
    guard !isClosed else { return }
    http2.announceGoAway(into: &out)
    wantsFlush()
  }

  func goAway(_ code: HTTP2ErrorCode) {
    guard !isClosed else { return }
    http2.goAway(code, into: &out)
    wantsFlush()
  }

  private func wantsFlush() {
    guard !isScheduled, !isClosed else { return }
    isScheduled = true
    loop.scheduleFlush(self)
  }

  func runInTick() {
    isScheduled = false
    guard !isClosed else { return }
    if out.readableBytes > 0, !stream.isBlocked {
      out.withUnsafeReadableBytes { stream.write($0) }
      if out.capacity > 64 << 10 { out = ByteBuffer() } else { out.clear() }
    }
    if endsAfterFlush, out.readableBytes == 0, !stream.isBlocked { return hangUp() }
    reportRoom()
  }

  private func reportRoom() {
    guard hasReported, out.readableBytes <= Self.congestion, !stream.isBlocked else { return }
    hasReported = false
    owner?.transportUnblocked()
  }

  // MARK: Receiving

  func received(_ bytes: UnsafeRawBufferPointer, from side: RelayState.Side) {
    guard !endsAfterFlush else { return }
    var bytes = bytes
    do throws(HTTP2Error) {
      while !isClosed, let event = try http2.next(from: &bytes, into: &out) {
        owner?.event(event)
        guard out.readableBytes <= Self.owedBound else {
          throw HTTP2Error(code: .enhanceYourCalm, reason: "the peer reads nothing")
        }
      }
    } catch {
      http2.goAway(error.code, into: &out)
      let owner = owner
      self.owner = nil
      endSoon()
      owner?.transportFailed(error.reason)
      return
    }
    owner?.eventsEnded()
    if out.readableBytes > 0 { wantsFlush() }
  }

  func ended(_ side: RelayState.Side) { fail("the peer closed the connection") }
  func finished(_ side: RelayState.Side) {}

  func unblocked(_ side: RelayState.Side) {
    if out.readableBytes > 0 || endsAfterFlush { wantsFlush() }
    reportRoom()
  }

  func failed(_ side: RelayState.Side, _ failure: StreamFailure) { fail(failure.description) }

  private func fail(_ reason: String) {
    let owner = owner
    self.owner = nil
    close()
    owner?.transportFailed(reason)
  }

  /// What is written leaves first, if it can.
  /// - Parameter closed: called once the peer has ended too, or its time is over. To one that still sends, a closed
  ///   socket would answer with a reset, and what it hasn't read yet would be lost.
  func end(closed: (() -> Void)? = nil) {
    owner = nil
    guard !isClosed else { return }
    whenClosed = closed
    endSoon()
  }

  private func hangUp() { if whenClosed == nil { close() } else { stream.finish() } }

  /// With what is written, unless the peer doesn't take it.
  private func endSoon() {
    endsAfterFlush = true
    wantsFlush()
    _ = loop.after(Self.farewell) { [weak self] in self?.close() }
  }

  func close() {
    guard !isClosed else { return }
    isClosed = true
    owner = nil
    // A stream of a tunnel that is only let go of would stay open at its other end.
    if side == .upstream { stream.reset() } else { stream.close() }
    let whenClosed = whenClosed
    self.whenClosed = nil
    whenClosed?()
  }
}
