import ProxyCore

/// The flow of one HTTP/2 stream's bytes, either way, whichever side of an exchange it is: what the windows don't let out
/// yet, and what came while its taker was paused.
struct HTTP2StreamFlow {
  /// Bounded by the feeder's being paused.
  private var pending: [UInt8] = []
  private var endsAfterPending = false
  private var pendingTrailers: HTTPHead?
  /// Whoever feeds it was told to stop, and waits for room.
  private var isReported = false
  private var isPaused = false
  /// Taken in while paused: given back to the peer's window on resume.
  private var withheld = 0

  /// For another stream; storage stays.
  mutating func reset() {
    pending.removeAll(keepingCapacity: pending.capacity <= 4096)
    endsAfterPending = false
    pendingTrailers = nil
    isReported = false
    isPaused = false
    withheld = 0
  }

  // MARK: Sending

  mutating func isBlocked(_ transport: HTTP2Transport) -> Bool {
    let blocked = !pending.isEmpty || transport.isCongested
    if blocked { isReported = true }
    return blocked
  }

  mutating func send(_ bytes: UnsafeRawBufferPointer, stream id: UInt32, over transport: HTTP2Transport) {
    var sent = 0
    if pending.isEmpty { sent = transport.send(bytes, stream: id, end: false) }
    if sent < bytes.count { pending.append(contentsOf: bytes[sent...]) }
  }

  /// Ends the sending, once what is pending has left. true: it has ended.
  mutating func finish(_ trailers: HTTPHead?, stream id: UInt32, over transport: HTTP2Transport) -> Bool {
    guard pending.isEmpty else {
      endsAfterPending = true
      pendingTrailers = trailers
      return false
    }
    if let trailers {
      transport.sendTrailers(trailers, stream: id)
    } else {
      _ = transport.send(UnsafeRawBufferPointer(start: nil, count: 0), stream: id, end: true)
    }
    return true
  }

  struct Progress {
    /// The end that waited for what was pending has left.
    var ended = false
    /// Whoever was told to stop may go on.
    var unblocked = false
  }

  /// The windows or the socket may take more.
  mutating func mayWrite(stream id: UInt32, over transport: HTTP2Transport) -> Progress {
    var progress = Progress()
    if !pending.isEmpty {
      let sent = pending.withUnsafeBytes { transport.send($0, stream: id, end: false) }
      if sent == pending.count { pending.removeAll(keepingCapacity: true) } else { pending.removeFirst(sent) }
      guard pending.isEmpty else { return progress }
      if endsAfterPending { progress.ended = finish(pendingTrailers, stream: id, over: transport) }
    }
    if isReported, !transport.isCongested {
      isReported = false
      progress.unblocked = true
    }
    return progress
  }

  // MARK: Receiving

  mutating func pause() { isPaused = true }

  mutating func resume(stream id: UInt32, over transport: HTTP2Transport) {
    guard isPaused else { return }
    isPaused = false
    if withheld > 0 { transport.consumed(withheld, stream: id) }
    withheld = 0
  }

  /// `count` bytes were handed on.
  mutating func received(_ count: Int, stream id: UInt32, over transport: HTTP2Transport) {
    if isPaused { withheld += count } else { transport.consumed(count, stream: id) }
  }
}
