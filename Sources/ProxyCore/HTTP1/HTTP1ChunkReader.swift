/// Cuts a chunked body into its payload (RFC 9112 §7.1). Keeps no bytes: sizes are summed up as their digits come.
struct HTTP1ChunkReader {
  private enum State {
    case size(digits: Int)
    case extensions
    case lineEnd
    case data
    case dataReturn
    case dataFeed
  }

  private var state = State.size(digits: 0)
  private var size: UInt64 = 0
  private var left: UInt64 = 0
  private var lineLength = 0
  /// By how much chunk lines outweigh payload.
  private var overhead = 0
  /// The last chunk's line was read.
  private(set) var isLast = false

  /// A piece of payload; nil: more bytes are needed, or `isLast`.
  mutating func next(
    from bytes: inout UnsafeRawBufferPointer, limits: HTTP1Limits
  ) throws(HTTP1Error) -> UnsafeRawBufferPointer? {
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      if case .data = state {
        let count = Int(min(left, UInt64(bytes.count - index)))
        let piece = UnsafeRawBufferPointer(rebasing: bytes[index..<index + count])
        bytes = UnsafeRawBufferPointer(rebasing: bytes[(index + count)...])
        left -= UInt64(count)
        if left == 0 { state = .dataReturn }
        return piece
      }
      index += 1
      switch state {
      case .size(let digits): try takeSize(byte, digits, limits)
      case .extensions: try takeExtension(byte, limits)
      case .lineEnd:
        guard byte == 10 else { throw HTTP1Error(status: 400, reason: "a chunk line ends with CR alone") }
        try endLine()
        if isLast {
          bytes = UnsafeRawBufferPointer(rebasing: bytes[index...])
          return nil
        }
      case .dataReturn:
        guard byte == 13 else { throw HTTP1Error(status: 400, reason: "no CRLF after a chunk") }
        state = .dataFeed
      case .dataFeed:
        guard byte == 10 else { throw HTTP1Error(status: 400, reason: "no CRLF after a chunk") }
        state = .size(digits: 0)
      case .data: break
      }
    }
    bytes = UnsafeRawBufferPointer(rebasing: bytes[index...])
    return nil
  }

  /// Up to 16 digits below 2^63, followed at once by an extension or the line's end.
  private mutating func takeSize(_ byte: UInt8, _ digits: Int, _ limits: HTTP1Limits) throws(HTTP1Error) {
    if let value = HTTPSyntax.hexValue(byte) {
      guard digits < 16, size >> 59 == 0 else { throw HTTP1Error(status: 400, reason: "a chunk is too large") }
      size = size << 4 | UInt64(value)
      state = .size(digits: digits + 1)
      lineLength += 1
      return
    }
    guard digits > 0, byte == 13 || byte == UInt8(ascii: ";") else {
      throw HTTP1Error(status: 400, reason: "an invalid chunk size")
    }
    try takeExtension(byte, limits)
  }

  /// Extensions are read over: no one knows any.
  private mutating func takeExtension(_ byte: UInt8, _ limits: HTTP1Limits) throws(HTTP1Error) {
    if byte == 13 {
      state = .lineEnd
      return
    }
    guard byte >= 32 || byte == 9, byte != 127 else {
      throw HTTP1Error(status: 400, reason: "a control character in a chunk extension")
    }
    lineLength += 1
    guard lineLength <= limits.maximumChunkLine else {
      throw HTTP1Error(status: 400, reason: "a chunk line is too long")
    }
    state = .extensions
  }

  private mutating func endLine() throws(HTTP1Error) {
    // A plain line and twice its payload are free, the rest adds up.
    overhead = max(0, overhead + lineLength - 16 - Int(min(size, 1 << 20)) * 2)
    guard overhead <= HTTP1Limits.maximumChunkOverhead else {
      throw HTTP1Error(status: 400, reason: "more chunk extensions than payload")
    }
    isLast = size == 0
    left = size
    size = 0
    lineLength = 0
    state = .data
  }
}
