/// Bodies in chunks, and the trailer fields behind them (RFC 9112 §7.1).
extension HTTP1Writer {
  /// A whole chunk. Nothing for no bytes: that would end the body.
  public static func chunk(_ bytes: UnsafeRawBufferPointer, into output: inout [UInt8]) {
    guard bytes.count > 0 else { return }
    chunkHeader(bytes.count, into: &output)
    output.append(contentsOf: bytes)
    chunkEnd(into: &output)
  }

  /// What stands before `count` bytes of payload, at least one; after them goes `chunkEnd`.
  public static func chunkHeader(_ count: Int, into output: inout [UInt8]) {
    precondition(count > 0, "an empty chunk would end the body")
    var shift = (Int.bitWidth - 1 - count.leadingZeroBitCount) / 4 * 4
    while shift >= 0 {
      let digit = UInt8(truncatingIfNeeded: count >> shift & 15)
      output.append(digit < 10 ? digit + 48 : digit + 87)
      shift -= 4
    }
    output.append("\r\n")
  }

  public static func chunkEnd(into output: inout [UInt8]) { output.append("\r\n") }

  /// The body's end, with the fields that may stand in a trailer section.
  public static func lastChunk(trailers: HTTPHead? = nil, into output: inout [UInt8]) {
    output.append("0\r\n")
    if let trailers, !trailers.fields.isEmpty {
      trailers.bytes.withUnsafeBytes { arena in
        for field in trailers.fields where HTTP1FieldWriter.isWellFormed(field, arena) {
          guard let base = arena.baseAddress else { continue }
          let name = HTTP1Line(base: base, start: field.name.range.lowerBound, end: field.name.range.upperBound)
          if HTTP1FieldName.inTrailers(name) == .allowed { output.append(arena, field) }
        }
      }
    }
    output.append("\r\n")
  }
}
