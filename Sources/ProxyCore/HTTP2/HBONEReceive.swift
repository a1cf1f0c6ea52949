import NIOCore
import NIOHPACK

extension HBONEConnection {
  /// A header block that CONTINUATION frames may still extend.
  struct HeaderBlock {
    var stream: UInt32
    var endStream: Bool
    var fragment: ByteBuffer
    var continuations = 0
  }

  /// The next event in `bytes`, which is shortened by what was used; nil: all of it was used. Answers that the protocol
  /// owes (acknowledgements, window updates, stream resets) go into `out`.
  /// - Throws: a connection error: send `goAway` with its code and close.
  public mutating func next(
    from bytes: inout UnsafeRawBufferPointer, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    if let event = pendingEvent {
      pendingEvent = nil
      return event
    }
    while let piece = try reader.next(from: &bytes) {
      switch piece {
      case .dataBegins(let header): try dataBegins(header, into: &out)
      case .data(let id, let payload):
        if streams[id]?.remoteEnded == false { return .data(stream: id, payload) }
      case .dataEnds(let header, let padding):
        if padding > 0 { consumed(padding, stream: header.stream, into: &out) }
        if header.has(HTTP2.Flag.endStream), let event = remoteEnded(header.stream) { return event }
      case .frame(let header, let payload):
        if let event = try frame(header, payload, into: &out) { return event }
      }
    }
    return nil
  }

  private mutating func dataBegins(_ header: HTTP2.FrameHeader, into out: inout ByteBuffer) throws(HTTP2Error) {
    guard hasSettings, headerBlock == nil else { throw error(.protocolError, "DATA where another frame was due") }
    guard !isIdle(header.stream) else { throw error(.protocolError, "DATA on an idle stream") }
    if header.length == 0 {
      // The ordered end of a stream, which comes once for each, is no idle frame.
      let ends = header.has(HTTP2.Flag.endStream) && streams[header.stream]?.remoteEnded == false
      if !ends { try spendIdleFrame(on: header.stream) }
    } else {
      idleFrameBudget = min(idleFrameBudget + 1, limits.idleFrames)
    }
    receiveWindow -= header.length
    guard receiveWindow >= 0 else { throw error(.flowControlError, "the connection's window is exceeded") }
    if receiveWindow < limits.connectionWindow / 2 {
      HTTP2.write(.windowUpdate, stream: 0, words: UInt32(limits.connectionWindow - receiveWindow), into: &out)
      receiveWindow = limits.connectionWindow
    }
    guard let index = streams.index(forKey: header.stream) else { return }
    guard !streams.values[index].remoteEnded else { throw error(.streamClosed, "DATA after the stream's end") }
    streams.values[index].receiveWindow -= header.length
    guard streams.values[index].receiveWindow >= 0 else {
      throw error(.flowControlError, "a stream's window is exceeded")
    }
  }

  /// Never opened, by this or the other side (RFC 9113 §5.1).
  private func isIdle(_ id: UInt32) -> Bool {
    id % 2 == 0 || (role == .client ? id >= nextStream : id > highestPeerStream)
  }

  private mutating func remoteEnded(_ id: UInt32) -> Event? {
    guard let stream = streams[id], !stream.remoteEnded else { return nil }
    if stream.localEnded { close(id) } else { streams[id]?.remoteEnded = true }
    return .ended(stream: id)
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
    case .ping:
      guard header.stream == 0, payload.count == 8 else { throw error(.frameSizeError, "a malformed PING") }
      try spendIdleFrame()
      if !header.has(HTTP2.Flag.acknowledge) {
        HTTP2.write(.ping, flags: HTTP2.Flag.acknowledge, stream: 0, payload: payload, into: &out)
      }
      return nil
    case .windowUpdate: return try windowUpdate(header, payload, into: &out)
    case .resetStream:
      guard payload.count == 4, header.stream != 0 else { throw error(.frameSizeError, "a malformed RST_STREAM") }
      guard !isIdle(header.stream) else { throw error(.protocolError, "RST_STREAM on an idle stream") }
      guard let stream = streams.removeValue(forKey: header.stream) else {
        try spendIdleFrame(on: header.stream)
        return nil
      }
      // Comes once for each stream; but one that was opened only to be reset costs the most (CVE-2023-44487).
      if !stream.answered { try spendIdleFrame(Self.resetCost) }
      return .reset(stream: header.stream, code: payload.bigEndian(at: 0))
    case .goAway:
      guard payload.count >= 8, header.stream == 0 else { throw error(.frameSizeError, "a malformed GOAWAY") }
      isDraining = true
      return .goAway(lastStream: payload.bigEndian(at: 0) & 0x7fff_ffff, code: payload.bigEndian(at: 4))
    case .pushPromise: throw error(.protocolError, "PUSH_PROMISE was not enabled")
    case .priority, .data, nil:
      try spendIdleFrame()
      return nil
    }
  }

  private mutating func headers(
    _ header: HTTP2.FrameHeader, _ payload: UnsafeRawBufferPointer, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard header.stream != 0 else { throw error(.protocolError, "HEADERS on stream 0") }
    var block = payload
    if header.has(HTTP2.Flag.padded) {
      guard let padding = block.first, Int(padding) < block.count else {
        throw error(.protocolError, "padding longer than its frame")
      }
      block = UnsafeRawBufferPointer(rebasing: block[1..<block.count - Int(padding)])
    }
    if header.has(HTTP2.Flag.priority) {
      guard block.count >= 5 else { throw error(.frameSizeError, "a malformed HEADERS") }
      block = UnsafeRawBufferPointer(rebasing: block[5...])
    }
    headerBlock = HeaderBlock(
      stream: header.stream, endStream: header.has(HTTP2.Flag.endStream), fragment: ByteBuffer(bytes: block))
    return header.has(HTTP2.Flag.endHeaders) ? try headerBlockEnds(into: &out) : nil
  }

  private mutating func continuation(
    _ header: HTTP2.FrameHeader, _ payload: UnsafeRawBufferPointer, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard headerBlock?.stream == header.stream else { throw error(.protocolError, "CONTINUATION of nothing") }
    headerBlock!.continuations += 1
    headerBlock!.fragment.writeBytes(payload)
    guard headerBlock!.fragment.readableBytes <= 16 << 10, headerBlock!.continuations <= 8 else {
      throw error(.enhanceYourCalm, "a header block of more than 16 KiB or 8 CONTINUATION frames")
    }
    return header.has(HTTP2.Flag.endHeaders) ? try headerBlockEnds(into: &out) : nil
  }

  private mutating func headerBlockEnds(into out: inout ByteBuffer) throws(HTTP2Error) -> Event? {
    guard var block = headerBlock else { return nil }
    headerBlock = nil
    let fields: HPACKHeaders
    do {
      fields = try decoder.decodeHeaders(from: &block.fragment)
    } catch {
      throw self.error(.compressionError, "a header block that does not decode")
    }
    let id = block.stream
    if let stream = streams[id] {
      if role == .client, !stream.answered {
        guard let status = fields.first(name: ":status").flatMap({ Int($0) }), 100..<600 ~= status else {
          try spendIdleFrame(Self.resetCost)
          reset(id, code: .protocolError, into: &out)
          return .reset(stream: id, code: HTTP2ErrorCode.protocolError.rawValue)
        }
        guard status >= 200 else {
          try spendIdleFrame()
          return nil
        }
        streams[id]?.answered = true
        if block.endStream { pendingEvent = remoteEnded(id) }
        return .response(stream: id, status: status)
      }
      guard !stream.remoteEnded else { throw error(.streamClosed, "HEADERS after the stream's end") }
      // Trailers: a CONNECT stream has none of meaning; their end counts.
      guard block.endStream else {
        try spendIdleFrame(Self.resetCost)
        reset(id, code: .protocolError, into: &out)
        return .reset(stream: id, code: HTTP2ErrorCode.protocolError.rawValue)
      }
      return remoteEnded(id)
    }
    guard isIdle(id) else {
      // Of a stream that is closed here.
      try spendIdleFrame(on: id)
      return nil
    }
    guard role == .server, id % 2 == 1 else {
      throw error(.protocolError, "HEADERS on a stream that the peer can't open")
    }
    highestPeerStream = id
    return try request(id, fields, endStream: block.endStream, into: &out)
  }

  private mutating func request(
    _ id: UInt32, _ fields: HPACKHeaders, endStream: Bool, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard !isDraining, streams.count < limits.streams else {
      try spendIdleFrame()
      HTTP2.write(.resetStream, stream: id, words: HTTP2ErrorCode.refusedStream.rawValue, into: &out)
      return nil
    }
    let methods = fields[":method"]
    let authorities = fields[":authority"]
    guard methods.count == 1, authorities.count <= 1, let method = methods.first, method.utf8.count <= 64 else {
      try spendIdleFrame()
      HTTP2.write(.resetStream, stream: id, words: HTTP2ErrorCode.protocolError.rawValue, into: &out)
      return nil
    }
    var stream = Stream(sendWindow: peerInitialWindow, receiveWindow: limits.streamWindow)
    stream.remoteEnded = endStream
    streams[id] = stream
    if endStream { pendingEvent = .ended(stream: id) }
    return .request(
      stream: id,
      HBONERequest(
        method: method, authority: authorities.first ?? "",
        client: fields.first(name: "forwarded").flatMap(Self.forwardedClient) ?? ""))
  }

  /// The `for` of the first element of a Forwarded field (RFC 7239 §4), without its quotes.
  static func forwardedClient(_ field: String) -> String? {
    let element = field.prefix { $0 != "," }
    for pair in element.split(separator: ";") {
      let parts = pair.split(separator: "=", maxSplits: 1)
      guard parts.count == 2, parts[0].drop(while: { $0 == " " }).lowercased() == "for" else { continue }
      return String(parts[1].drop { $0 == "\"" }.prefix { $0 != "\"" })
    }
    return nil
  }

  private mutating func settings(
    _ header: HTTP2.FrameHeader, _ payload: UnsafeRawBufferPointer, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard header.stream == 0, payload.count % 6 == 0 else { throw error(.frameSizeError, "a malformed SETTINGS") }
    if header.has(HTTP2.Flag.acknowledge) {
      guard payload.isEmpty else { throw error(.frameSizeError, "a SETTINGS acknowledgement with a payload") }
      return nil
    }
    try spendIdleFrame()
    hasSettings = true
    var opened = false
    for offset in stride(from: 0, to: payload.count, by: 6) {
      let name = UInt16(payload[offset]) << 8 | UInt16(payload[offset + 1])
      let value = payload.bigEndian(at: offset + 2)
      switch HTTP2.Setting(rawValue: name) {
      case .initialWindowSize:
        guard value <= UInt32(HTTP2.maximumWindow) else { throw error(.flowControlError, "a window over 2^31-1") }
        let change = Int(value) - peerInitialWindow
        peerInitialWindow = Int(value)
        for id in streams.keys {
          streams[id]!.sendWindow += change
          guard streams[id]!.sendWindow <= HTTP2.maximumWindow else {
            throw error(.flowControlError, "a window over 2^31-1")
          }
        }
        opened = opened || change > 0
      case .maximumFrameSize:
        guard 16_384...16_777_215 ~= value else { throw error(.protocolError, "a maximum frame size of \(value)") }
        peerMaximumFrame = min(Int(value), HTTP2.maximumDataSize)
      case .maximumConcurrentStreams: peerMaximumStreams = Int(value)
      case .headerTableSize:
        do { try encoder.setDynamicTableSize(Int(min(value, 4096))) } catch {
          throw self.error(.compressionError, "a header table of \(value) bytes")
        }
      case .enablePush, .maximumHeaderListSize, nil: break
      }
    }
    HTTP2.write(.settings, flags: HTTP2.Flag.acknowledge, stream: 0, payload: .init(start: nil, count: 0), into: &out)
    return opened ? .connectionWritable : nil
  }

  private mutating func windowUpdate(
    _ header: HTTP2.FrameHeader, _ payload: UnsafeRawBufferPointer, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard payload.count == 4 else { throw error(.frameSizeError, "a malformed WINDOW_UPDATE") }
    let credit = Int(payload.bigEndian(at: 0) & 0x7fff_ffff)
    if header.stream == 0 {
      guard credit > 0 else { throw error(.protocolError, "a window update of 0") }
      let wasClosed = sendWindow <= 0
      sendWindow += credit
      guard sendWindow <= HTTP2.maximumWindow else { throw error(.flowControlError, "a window over 2^31-1") }
      return wasClosed ? .connectionWritable : nil
    }
    guard let index = streams.index(forKey: header.stream) else {
      try spendIdleFrame(on: header.stream)
      return nil
    }
    let wasClosed = streams.values[index].sendWindow <= 0
    streams.values[index].sendWindow += credit
    guard credit > 0, streams.values[index].sendWindow <= HTTP2.maximumWindow else {
      try spendIdleFrame(Self.resetCost)
      reset(header.stream, code: credit > 0 ? .flowControlError : .protocolError, into: &out)
      let code: HTTP2ErrorCode = credit > 0 ? .flowControlError : .protocolError
      return .reset(stream: header.stream, code: code.rawValue)
    }
    return wasClosed ? .writable(stream: header.stream) : nil
  }

  /// For a frame on a stream: late ones cost nothing as long as there are `lateFrames`.
  private mutating func spendIdleFrame(on id: UInt32) throws(HTTP2Error) {
    if streams[id] == nil, !isIdle(id), lateFrames > 0 {
      lateFrames -= 1
    } else {
      try spendIdleFrame()
    }
  }

  /// In idle frames, of a stream that the peer opened only to reset it, or to have it reset (CVE-2025-8671).
  private static let resetCost = 10

  private mutating func spendIdleFrame(_ cost: Int = 1) throws(HTTP2Error) {
    idleFrameBudget -= cost
    guard idleFrameBudget >= 0 else {
      throw error(.enhanceYourCalm, "too many frames that carry nothing")
    }
  }

  private func error(_ code: HTTP2ErrorCode, _ reason: String) -> HTTP2Error {
    HTTP2Error(code: code, reason: reason)
  }
}
