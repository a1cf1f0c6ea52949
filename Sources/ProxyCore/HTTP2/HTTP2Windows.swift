import NIOCore

/// What the peer says about how much may be sent.
extension HTTP2Connection {
  mutating func settings(
    _ header: HTTP2.FrameHeader, _ payload: UnsafeRawBufferPointer, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard header.stream == 0 else { throw error(.protocolError, "SETTINGS of a stream") }
    try spendIdleFrame()
    if header.has(HTTP2.Flag.acknowledge) {
      guard hasSettings else { throw error(.protocolError, "the first frame is not SETTINGS") }
      guard payload.isEmpty else { throw error(.frameSizeError, "a SETTINGS acknowledgement with a payload") }
      return nil
    }
    guard payload.count % 6 == 0 else { throw error(.frameSizeError, "a malformed SETTINGS") }
    // Whoever names no bound has none.
    var maximumStreams = hasSettings ? peerMaximumStreams : Int(UInt32.max)
    hasSettings = true
    // Applied once, whatever a frame repeats: it costs a walk through all streams.
    var initialWindow: UInt32?
    for offset in stride(from: 0, to: payload.count, by: 6) {
      let name = UInt16(payload[offset]) << 8 | UInt16(payload[offset + 1])
      let value = payload.bigEndian(at: offset + 2)
      switch HTTP2.Setting(rawValue: name) {
      case .initialWindowSize:
        guard value <= UInt32(HTTP2.maximumWindow) else { throw error(.flowControlError, "a window over 2^31-1") }
        initialWindow = value
      case .maximumFrameSize:
        guard 16_384...16_777_215 ~= value else { throw error(.protocolError, "a maximum frame size of \(value)") }
        peerMaximumFrame = min(Int(value), HTTP2.maximumDataSize)
      case .maximumConcurrentStreams: maximumStreams = Int(value)
      case .headerTableSize: encoder.setTableSize(Int(value))
      case .enablePush:
        // A server may not even offer it (RFC 9113 §6.5.2).
        guard value == 0 || value == 1 && role == .server else {
          throw error(.protocolError, "an ENABLE_PUSH of \(value)")
        }
      case .maximumHeaderListSize, nil: break
      }
    }
    // Whoever looked at `acceptsStreams` alone waits too.
    if role == .client, streams.count >= peerMaximumStreams, maximumStreams > peerMaximumStreams { isStarved = true }
    peerMaximumStreams = maximumStreams
    let opened = if let initialWindow { try setInitialWindow(Int(initialWindow)) } else { false }
    HTTP2.write(.settings, flags: HTTP2.Flag.acknowledge, stream: 0, payload: .init(start: nil, count: 0), into: &out)
    return opened ? .connectionWritable : nil
  }

  /// Changes the window of every stream by as much as the initial one changes (RFC 9113 §6.9.2); it may become negative.
  private mutating func setInitialWindow(_ value: Int) throws(HTTP2Error) -> Bool {
    let change = value - peerInitialWindow
    guard change != 0 else { return false }
    peerInitialWindow = value
    var largest = 0
    streams.forEach { stream in
      stream.sendWindow += change
      largest = max(largest, stream.sendWindow)
    }
    guard largest <= HTTP2.maximumWindow else { throw error(.flowControlError, "a window over 2^31-1") }
    return change > 0 && streams.count > 0
  }

  mutating func windowUpdate(
    _ header: HTTP2.FrameHeader, _ payload: UnsafeRawBufferPointer, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard payload.count == 4 else { throw error(.frameSizeError, "a malformed WINDOW_UPDATE") }
    try spendIdleFrame()
    let credit = Int(payload.bigEndian(at: 0) & 0x7fff_ffff)
    guard header.stream != 0 else {
      guard credit > 0 else { throw error(.protocolError, "a window update of 0") }
      let wasClosed = sendWindow <= 0
      sendWindow += credit
      guard sendWindow <= HTTP2.maximumWindow else { throw error(.flowControlError, "a window over 2^31-1") }
      return wasClosed ? .connectionWritable : nil
    }
    guard !isIdle(header.stream) else { throw error(.protocolError, "WINDOW_UPDATE on an idle stream") }
    // Of a stream that is gone it is merely late.
    guard let index = streams.index(of: header.stream) else { return nil }
    guard credit > 0 else { return try fail(at: index, .protocolError, into: &out) }
    let wasClosed = streams[index].sendWindow <= 0
    streams[index].sendWindow += credit
    guard streams[index].sendWindow <= HTTP2.maximumWindow else {
      return try fail(at: index, .flowControlError, into: &out)
    }
    return wasClosed && streams[index].sendWindow > 0 ? .writable(stream: header.stream) : nil
  }
}
