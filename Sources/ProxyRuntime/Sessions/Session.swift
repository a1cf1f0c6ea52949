import MeshModel
import struct NIOCore.ByteBuffer
import ProxyCore

/// One application's connection through the proxy: two streams, and the state machine between them.
final class Session: StreamOwner {
  /// Facts for `weft connections`.
  struct Facts: Sendable {
    enum Direction: String, Sendable { case outbound, inbound, local }

    var direction: Direction
    /// The workload whose listener accepted it.
    var workload: String
    var source = ""
    var sourceIdentity = ""
    var destination = ""
    var destinationIdentity = ""
    var service = ""
    var downstreamAddress: SocketAddress?
    var upstreamAddress: SocketAddress?
    var isTLS = false
    var isTunnelled = false
  }

  let id: UInt64
  let opened: NanoTime
  var facts: Facts
  private(set) var bytesSent: UInt64 = 0
  private(set) var bytesReceived: UInt64 = 0
  private(set) var lastActive: NanoTime
  private(set) var isClosed = false
  /// Nanoseconds without a byte in either direction, after which it ends.
  var idleTimeout = Worker.idleTimeout
  /// Of one attempt.
  var connectTimeout = StreamTarget.connectTimeout
  var isEstablished: Bool { upstream != nil }

  private let loop: EventLoop
  private let downstream: any ByteStream
  private var upstream: (any ByteStream)?
  private var relay = RelayState()
  /// The attempt that is under way: it ends with the session.
  var opening: StreamOpening?
  private let closed: (Session) -> Void
  private var atClose: (() -> Void)?
  /// Read before it was known whither: the first bytes of the upstream.
  private var prelude = ByteBuffer()
  private var preludeEnds = false

  /// - Parameter closed: called once, when both streams are gone.
  init(
    id: UInt64, facts: Facts, downstream: any ByteStream, loop: EventLoop, closed: @escaping (Session) -> Void
  ) {
    self.id = id
    self.facts = facts
    self.downstream = downstream
    self.loop = loop
    self.closed = closed
    opened = loop.now
    lastActive = loop.now
    downstream.side = .downstream
    downstream.owner = self
  }

  /// What is to be done when the session is over.
  func onClose(_ body: @escaping () -> Void) { atClose = body }

  /// What was read from the downstream already, and whether its end was.
  func begin(with bytes: UnsafeRawBufferPointer, hasEnded: Bool) {
    prelude.writeBytes(bytes)
    preludeEnds = hasEnded
  }

  /// Joins the two streams and lets them run.
  func establish(_ stream: any ByteStream) {
    guard !isClosed else { return stream.reset() }
    opening = nil
    upstream = stream
    stream.side = .upstream
    stream.owner = self
    if prelude.readableBytes > 0 {
      bytesSent &+= UInt64(prelude.readableBytes)
      prelude.withUnsafeReadableBytes { stream.write($0) }
      prelude = ByteBuffer()
    }
    if preludeEnds { ended(.downstream) } else { downstream.resume() }
    stream.resume()
  }

  /// No upstream could be had.
  func refuse() {
    guard !isClosed else { return }
    apply(relay.failed(.upstream), from: .upstream)
  }

  /// Ends the session at once: both peers see a reset.
  func abort() {
    guard !isClosed else { return }
    upstream?.reset()
    downstream.reset()
    close()
  }

  private func stream(_ side: RelayState.Side) -> (any ByteStream)? { side == .downstream ? downstream : upstream }

  func received(_ bytes: UnsafeRawBufferPointer, from side: RelayState.Side) {
    lastActive = loop.now
    if side == .downstream {
      bytesSent &+= UInt64(bytes.count)
    } else {
      bytesReceived &+= UInt64(bytes.count)
    }
    guard let other = stream(side.other) else { return }
    other.write(bytes)
    if other.isBlocked { apply(relay.blocked(side.other), from: side.other) }
  }

  func ended(_ side: RelayState.Side) { apply(relay.ended(side), from: side) }
  func finished(_ side: RelayState.Side) { apply(relay.finished(side), from: side) }
  func unblocked(_ side: RelayState.Side) { apply(relay.unblocked(side), from: side) }
  func failed(_ side: RelayState.Side, _ failure: StreamFailure) { apply(relay.failed(side), from: side) }

  private func apply(_ actions: RelayState.Actions, from side: RelayState.Side) {
    guard !actions.isEmpty else { return }
    let other = stream(side.other)
    if actions.contains(.pauseOther) { other?.pause() }
    if actions.contains(.resumeOther) { other?.resume() }
    if actions.contains(.finishOther) { other?.finish() }
    if actions.contains(.resetOther) {
      other?.reset()
      stream(side)?.reset()
    }
    if actions.contains(.close) { close() }
  }

  private func close() {
    guard !isClosed else { return }
    isClosed = true
    opening?.cancel()
    opening = nil
    upstream?.close()
    downstream.close()
    let body = atClose
    atClose = nil
    body?()
    closed(self)
  }
}
