import StubCore

/// A side that is a stream of a tunnel.
final class StreamSide: Side, HTTP2StreamDelegate {
  weak var session: Session?
  let stream: HTTP2Stream
  private let loop: Loop
  private var hasEnded = false
  private var isFinished = false
  private var isOver = false
  private var early = ByteQueue()

  init(_ stream: HTTP2Stream, loop: Loop) {
    self.stream = stream
    self.loop = loop
    stream.delegate = self
  }

  var isBlocked: Bool { !isOver && stream.isBlocked }
  var isDone: Bool { isOver || (hasEnded && isFinished) }

  func write(_ bytes: UnsafeRawBufferPointer) {
    if !isOver { stream.write(bytes) }
  }

  func finish() {
    isFinished = true
    if !isOver { stream.finish() }
  }

  func read() {
    if !early.isEmpty, let session {
      early.take { bytes in
        session.received(bytes, from: self, now: loop.now)
        return bytes.count
      }
      if hasEnded { session.ended(self) }
    }
    guard let session, !session.isBlocked(for: self) else { return }
    stream.consumeReceived()
  }

  /// Its end is being told in another way.
  func abandon() {
    isOver = true
    early.clear()
    stream.delegate = nil
  }

  func reset() {
    guard !isOver else { return }
    isOver = true
    early.clear()
    stream.delegate = nil
    stream.reset()
  }

  func received(_ bytes: UnsafeRawBufferPointer, on stream: HTTP2Stream) {
    // Before the other side is there: the stream's window bounds it.
    guard let session, session.up != nil, early.isEmpty else { return early.append(bytes) }
    session.received(bytes, from: self, now: loop.now)
    if !session.isBlocked(for: self) { stream.consumeReceived() }
  }

  func receivedEnd(on stream: HTTP2Stream) {
    hasEnded = true
    if early.isEmpty { session?.ended(self) }
  }

  func mayWrite(on stream: HTTP2Stream) { session?.unblocked(self) }

  func closed(_ stream: HTTP2Stream, failure: String?) {
    guard !isOver else { return }
    isOver = true
    // An orderly close: what came is on its way to the other side.
    if failure == nil, hasEnded { session?.settle() } else { session?.close() }
  }
}
