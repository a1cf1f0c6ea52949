import NIOCore

extension HTTP2Connection {
  /// The next event in `bytes`, which is shortened by what was used; nil: all of it was used. Answers that the protocol
  /// owes (acknowledgements, window updates, stream resets) go into `out`.
  /// - Throws: a connection error: send `goAway` with its code and close.
  public mutating func next(
    from bytes: inout UnsafeRawBufferPointer, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    if let event = unseenStream() { return event }
    while let piece = try reader.next(from: &bytes) {
      switch piece {
      case .dataBegins(let header): if let event = try dataBegins(header, into: &out) { return event }
      case .data(let id, let payload):
        guard let index = streams.index(of: id) else { continue }
        guard streams[index].expected != -1 else { return .data(stream: id, payload) }
        streams[index].expected -= payload.count
        guard streams[index].expected >= 0 else { return try fail(at: index, .protocolError, into: &out) }
        return .data(stream: id, payload)
      case .dataEnds(let header, let padding):
        if padding > 0 { consumed(padding, stream: header.stream, into: &out) }
        guard header.has(HTTP2.Flag.endStream), let index = streams.index(of: header.stream) else { continue }
        guard streams[index].expected <= 0 else { return try fail(at: index, .protocolError, into: &out) }
        remoteEnded(at: index)
        return .ended(stream: header.stream)
      case .frame(let header, let payload):
        if let event = try frame(header, payload, into: &out) { return event }
      }
    }
    if isStarved, acceptsStreams {
      isStarved = false
      return .streamsAvailable
    }
    return nil
  }

  /// After a GOAWAY: one of the streams that the peer has not seen.
  private mutating func unseenStream() -> Event? {
    guard peerLastStream != .max, let index = streams.index(above: peerLastStream) else { return nil }
    let id = streams[index].id
    close(at: index, .resetHere)
    return .reset(stream: id, code: HTTP2ErrorCode.refusedStream.rawValue)
  }

  /// A frame of DATA counts against the windows in whole, before its payload is here.
  private mutating func dataBegins(
    _ header: HTTP2.FrameHeader, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard hasSettings, headerBlock == nil else { throw error(.protocolError, "DATA where another frame was due") }
    guard !isIdle(header.stream) else { throw error(.protocolError, "DATA on an idle stream") }
    if header.length > 0 {
      earn(1)
    } else if !header.has(HTTP2.Flag.endStream) {
      try spendIdleFrame()
    }
    receiveWindow -= header.length
    guard receiveWindow >= 0 else { throw error(.flowControlError, "the connection's window is exceeded") }
    if receiveWindow < limits.connectionWindow / 2 {
      HTTP2.write(.windowUpdate, stream: 0, words: UInt32(limits.connectionWindow - receiveWindow), into: &out)
      receiveWindow = limits.connectionWindow
    }
    guard let index = streams.index(of: header.stream) else {
      try late(header.stream, into: &out)
      return nil
    }
    guard !streams[index].remoteEnded else { return try fail(at: index, .streamClosed, into: &out) }
    guard streams[index].headReceived else { return try fail(at: index, .protocolError, into: &out) }
    guard header.length <= streams[index].receiveWindow else {
      return try fail(at: index, .flowControlError, into: &out)
    }
    streams[index].receiveWindow -= header.length
    return nil
  }

  private mutating func frame(
    _ header: HTTP2.FrameHeader, _ payload: UnsafeRawBufferPointer, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    let type = HTTP2.FrameType(rawValue: header.type)
    guard hasSettings || type == .settings else { throw error(.protocolError, "the first frame is not SETTINGS") }
    guard headerBlock == nil || type == .continuation else {
      throw error(.protocolError, "a header block is interrupted")
    }
    switch type {
    case .headers: return try headers(header, payload, into: &out)
    case .continuation: return try continuation(header, payload, into: &out)
    case .settings: return try settings(header, payload, into: &out)
    case .windowUpdate: return try windowUpdate(header, payload, into: &out)
    case .ping: return try ping(header, payload, into: &out)
    case .resetStream:
      guard payload.count == 4 else { throw error(.frameSizeError, "a malformed RST_STREAM") }
      guard !isIdle(header.stream) else { throw error(.protocolError, "RST_STREAM on an idle stream") }
      try spendIdleFrame()
      guard let index = streams.index(of: header.stream) else { return nil }
      // A stream that was opened only to be reset (CVE-2023-44487).
      if role == .server, !streams[index].headSent { try wasteStream() }
      close(at: index, .resetByPeer)
      return .reset(stream: header.stream, code: payload.bigEndian(at: 0))
    case .goAway: return try goneAway(header, payload)
    case .pushPromise: throw error(.protocolError, "PUSH_PROMISE was not enabled")
    case .priority:
      guard header.stream != 0 else { throw error(.protocolError, "PRIORITY of the connection") }
      try spendIdleFrame()
      guard payload.count != 5 || payload.bigEndian(at: 0) & 0x7fff_ffff != header.stream else {
        return try streamError(header.stream, .protocolError, into: &out)
      }
      guard payload.count == 5 else { return try streamError(header.stream, .frameSizeError, into: &out) }
      return nil
    case .data, nil:
      try spendIdleFrame()
      return nil
    }
  }

  private mutating func ping(
    _ header: HTTP2.FrameHeader, _ payload: UnsafeRawBufferPointer, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard payload.count == 8 else { throw error(.frameSizeError, "a malformed PING") }
    guard header.stream == 0 else { throw error(.protocolError, "a PING of a stream") }
    guard header.has(HTTP2.Flag.acknowledge) else {
      try spendIdleFrame()
      HTTP2.write(.ping, flags: HTTP2.Flag.acknowledge, stream: 0, payload: payload, into: &out)
      return nil
    }
    guard openPings > 0 else {
      try spendIdleFrame()
      return nil
    }
    openPings -= 1
    return .pong(UInt64(payload.bigEndian(at: 0)) << 32 | UInt64(payload.bigEndian(at: 4)))
  }

  private mutating func goneAway(
    _ header: HTTP2.FrameHeader, _ payload: UnsafeRawBufferPointer
  ) throws(HTTP2Error) -> Event? {
    guard payload.count >= 8 else { throw error(.frameSizeError, "a malformed GOAWAY") }
    guard header.stream == 0 else { throw error(.protocolError, "a GOAWAY of a stream") }
    try spendIdleFrame()
    isDraining = true
    let last = payload.bigEndian(at: 0) & 0x7fff_ffff
    // Of a server's own streams, which there are none of, nothing follows.
    if role == .client { peerLastStream = min(last, peerLastStream) }
    return .goAway(lastStream: last, code: payload.bigEndian(at: 4))
  }

  /// Never opened, by this or the other side (RFC 9113 §5.1).
  func isIdle(_ id: UInt32) -> Bool {
    id % 2 == 0 || (role == .client ? id >= nextStream : id > highestPeerStream)
  }

  /// The stream at `index` receives no more.
  mutating func remoteEnded(at index: Int) {
    if streams[index].localEnded { close(at: index, .ended) } else { streams[index].remoteEnded = true }
  }

  /// A frame of a stream that is gone.
  mutating func late(_ id: UInt32, into out: inout ByteBuffer) throws(HTTP2Error) {
    switch closed.ending(of: id) {
    case .resetHere: try spendIdleFrame()
    case .ended: throw error(.streamClosed, "a frame after the stream's end")
    case .resetByPeer, nil:
      try spendIdleFrame(10)
      HTTP2.write(.resetStream, stream: id, words: HTTP2ErrorCode.streamClosed.rawValue, into: &out)
    }
  }

  /// An error of the stream at `index` (RFC 9113 §5.4.2).
  mutating func fail(
    at index: Int, _ code: HTTP2ErrorCode, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event {
    let id = streams[index].id
    if role == .server, !streams[index].headSent { try wasteStream() } else { try spendIdleFrame(10) }
    reset(id, code: code, into: &out)
    return .reset(stream: id, code: code.rawValue)
  }

  /// The same where there may be no stream any more, or not yet.
  mutating func streamError(
    _ id: UInt32, _ code: HTTP2ErrorCode, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard let index = streams.index(of: id) else { return nil }
    return try fail(at: index, code, into: &out)
  }

  mutating func wasteStream() throws(HTTP2Error) {
    wastedStreamBudget -= 1
    guard wastedStreamBudget >= 0 else { throw error(.enhanceYourCalm, "too many requests in vain") }
  }

  mutating func spendIdleFrame(_ cost: Int = 1) throws(HTTP2Error) {
    idleFrameBudget -= cost
    guard idleFrameBudget >= 0 else { throw error(.enhanceYourCalm, "too many frames that carry nothing") }
  }

  func error(_ code: HTTP2ErrorCode, _ reason: String) -> HTTP2Error { HTTP2Error(code: code, reason: reason) }
}
