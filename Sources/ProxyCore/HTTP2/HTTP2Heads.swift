import NIOCore

/// Header blocks, and what they mean to their stream.
extension HTTP2Connection {
  /// A header block that CONTINUATION frames may still extend.
  struct HeaderBlock {
    var stream: UInt32
    var endStream: Bool
    var continuations = 0
  }

  mutating func headers(
    _ header: HTTP2.FrameHeader, _ payload: UnsafeRawBufferPointer, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard header.stream != 0 else { throw error(.protocolError, "HEADERS on stream 0") }
    var fragment = payload
    if header.has(HTTP2.Flag.padded) {
      guard let padding = fragment.first else { throw error(.frameSizeError, "padding without a length") }
      guard Int(padding) < fragment.count else { throw error(.protocolError, "padding longer than its frame") }
      fragment = UnsafeRawBufferPointer(rebasing: fragment[1..<fragment.count - Int(padding)])
    }
    if header.has(HTTP2.Flag.priority) {
      guard fragment.count >= 5 else { throw error(.frameSizeError, "a malformed HEADERS") }
      guard fragment.bigEndian(at: 0) & 0x7fff_ffff != header.stream else {
        throw error(.protocolError, "a stream that depends on itself")
      }
      fragment = UnsafeRawBufferPointer(rebasing: fragment[5...])
    }
    guard fragment.count <= limits.headerBlock else { throw tooLongBlock() }
    let block = HeaderBlock(stream: header.stream, endStream: header.has(HTTP2.Flag.endStream))
    guard header.has(HTTP2.Flag.endHeaders) else {
      fragments.removeAll(keepingCapacity: fragments.capacity <= HTTP2.maximumFrameSize)
      fragments.append(contentsOf: fragment)
      headerBlock = block
      return nil
    }
    return try decode(fragment, of: block, into: &out)
  }

  mutating func continuation(
    _ header: HTTP2.FrameHeader, _ payload: UnsafeRawBufferPointer, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard var block = headerBlock, block.stream == header.stream else {
      throw error(.protocolError, "CONTINUATION of nothing")
    }
    block.continuations += 1
    guard fragments.count + payload.count <= limits.headerBlock, block.continuations <= limits.continuations else {
      throw tooLongBlock()
    }
    fragments.append(contentsOf: payload)
    guard header.has(HTTP2.Flag.endHeaders) else {
      headerBlock = block
      return nil
    }
    headerBlock = nil
    // Taken out for as long as a pointer leads into it.
    let whole = fragments
    fragments = []
    let result = whole.withUnsafeBytes { bytes in
      Result { () throws(HTTP2Error) in try decode(bytes, of: block, into: &out) }
    }
    fragments = whole
    return try result.get()
  }

  private func tooLongBlock() -> HTTP2Error {
    error(
      .enhanceYourCalm,
      "a header block of more than \(limits.headerBlock) bytes or \(limits.continuations) CONTINUATION frames")
  }

  private mutating func decode(
    _ bytes: UnsafeRawBufferPointer, of block: HeaderBlock, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    let index = streams.index(of: block.stream)
    let kind: MessageKind =
      if let index, streams[index].headReceived { .trailers } else { role == .server ? .request : .response }
    var rules = MessageRules(kind, maximumSize: limits.headerBlock, maximumFields: limits.fields)
    head.removeAll()
    try decoder.decode(bytes, into: &head, rules: &rules)
    rules.finish(&head)
    guard let index else { return try newStream(block, rules, into: &out) }
    guard !streams[index].remoteEnded else { return try fail(at: index, .streamClosed, into: &out) }
    guard !rules.isMalformed, !rules.isTooLarge else {
      return try fail(at: index, rules.isMalformed ? .protocolError : .enhanceYourCalm, into: &out)
    }
    return kind == .trailers
      ? try trailers(at: index, block, into: &out) : try response(at: index, block, rules, into: &out)
  }

  private mutating func trailers(
    at index: Int, _ block: HeaderBlock, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard block.endStream, streams[index].expected <= 0 else {
      return try fail(at: index, .protocolError, into: &out)
    }
    remoteEnded(at: index)
    return .trailers(stream: block.stream)
  }

  private mutating func response(
    at index: Int, _ block: HeaderBlock, _ rules: MessageRules, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    guard head.status >= 200 else {
      // 101 belongs to HTTP/1.1 (RFC 9113 §8.6).
      guard !block.endStream, head.status != 101 else { return try fail(at: index, .protocolError, into: &out) }
      try spendIdleFrame()
      return .headers(stream: block.stream, end: false)
    }
    earn(4)
    streams[index].headReceived = true
    if streams[index].isHead || head.status == 204 || head.status == 304 {
      streams[index].expected = 0
    } else if !streams[index].isConnect || head.status >= 300 {
      streams[index].expected = rules.contentLength ?? -1
    }
    guard !block.endStream || streams[index].expected <= 0 else {
      return try fail(at: index, .protocolError, into: &out)
    }
    if block.endStream { remoteEnded(at: index) }
    return .headers(stream: block.stream, end: block.endStream)
  }

  /// A block of a stream that is not there: a request, or one that comes late.
  private mutating func newStream(
    _ block: HeaderBlock, _ rules: MessageRules, into out: inout ByteBuffer
  ) throws(HTTP2Error) -> Event? {
    let id = block.stream
    guard isIdle(id) else {
      try late(id, into: &out)
      return nil
    }
    guard role == .server, id % 2 == 1 else {
      throw error(.protocolError, "HEADERS on a stream that the peer can't open")
    }
    highestPeerStream = id
    var refusal: HTTP2ErrorCode?
    // While draining: it was on its way when the GOAWAY went, which told that it would not be seen.
    if isDraining || streams.count >= limits.streams { refusal = .refusedStream }
    let length = head.equals(head.method, "CONNECT") ? nil : rules.contentLength
    if rules.isMalformed || block.endStream && length ?? 0 > 0 { refusal = .protocolError }
    if let refusal {
      try wasteStream()
      closed.add(id, .resetHere)
      HTTP2.write(.resetStream, stream: id, words: refusal.rawValue, into: &out)
      return nil
    }
    if rules.isTooLarge { try wasteStream() }
    var stream = Stream(id: id, sendWindow: peerInitialWindow, receiveWindow: limits.streamWindow)
    stream.headReceived = true
    stream.remoteEnded = block.endStream
    stream.expected = length ?? -1
    stream.isWasted = rules.isTooLarge
    streams.insert(stream)
    guard !rules.isTooLarge else { return .oversized(stream: id, end: block.endStream) }
    earn(2)
    return .headers(stream: id, end: block.endStream)
  }
}
