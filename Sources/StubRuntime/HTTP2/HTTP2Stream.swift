import CStub
import StubCore

/// Who takes what comes on a stream.
protocol HTTP2StreamDelegate: AnyObject {
  func received(_ bytes: UnsafeRawBufferPointer, on stream: HTTP2Stream)
  func receivedEnd(on stream: HTTP2Stream)
  /// What was written is gone, or most of it.
  func mayWrite(on stream: HTTP2Stream)
  /// Over; nil: in order.
  func closed(_ stream: HTTP2Stream, failure: String?)
}

/// One stream of an HTTP/2 connection.
final class HTTP2Stream {
  static let bound = 64 << 10

  let id: Int32
  private(set) weak var connection: HTTP2Connection?
  weak var delegate: (any HTTP2StreamDelegate)?
  private var out = ByteQueue()
  private var isFinished = false
  private var isWaiting = false
  /// Received and not given back to the peer's window yet.
  private var unconsumed = 0

  init(id: Int32, connection: HTTP2Connection) {
    self.id = id
    self.connection = connection
  }

  /// Full: what is written still is kept, but no more should be.
  var isBlocked: Bool { out.count >= Self.bound / 2 }

  func write(_ bytes: UnsafeRawBufferPointer) {
    guard !isFinished, let connection else { return }
    let wasEmpty = out.isEmpty
    out.append(bytes)
    if isBlocked { isWaiting = true }
    if wasEmpty { connection.resume(id) }
  }

  func finish() {
    guard !isFinished else { return }
    isFinished = true
    connection?.resume(id)
  }

  func reset(code: UInt32 = 8) { connection?.reset(id, code: code) }

  /// The peer may send on.
  func consumeReceived() {
    guard unconsumed > 0 else { return }
    connection?.consumed(id, unconsumed)
    unconsumed = 0
  }

  func received(_ bytes: UnsafeRawBufferPointer) {
    unconsumed += bytes.count
    guard let delegate else { return consumeReceived() }
    delegate.received(bytes, on: self)
  }

  func receivedEnd() { delegate?.receivedEnd(on: self) }

  func supply(_ space: UnsafeMutableRawBufferPointer) -> (count: Int, isLast: Bool) {
    var count = 0
    out.take { bytes in
      count = min(bytes.count, space.count)
      space.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
      return count
    }
    if isWaiting, out.count < Self.bound / 4 {
      isWaiting = false
      delegate?.mayWrite(on: self)
    }
    return (count, isFinished && out.isEmpty)
  }

  func closed(code: UInt32) {
    // A CONNECT's server may answer and end with NO_ERROR before the client has.
    delegate?.closed(self, failure: code == 0 ? nil : "the stream was reset (code \(code))")
  }

  func broke(_ reason: String) { delegate?.closed(self, failure: reason) }
}
