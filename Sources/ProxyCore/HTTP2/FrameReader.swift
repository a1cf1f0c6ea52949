/// Cuts a byte stream into frames. Payloads of DATA come in the pieces in which they arrived; those of other frames
/// whole, copied together only where a read cut them.
struct FrameReader {
  enum Piece {
    /// A whole frame that is not DATA.
    case frame(HTTP2.FrameHeader, UnsafeRawBufferPointer)
    /// DATA begins: its length on the wire counts against the windows.
    case dataBegins(HTTP2.FrameHeader)
    case data(stream: UInt32, UnsafeRawBufferPointer)
    /// With the bytes of padding, which reach no application.
    case dataEnds(HTTP2.FrameHeader, padding: Int)
  }

  private enum State {
    case preface(matched: Int)
    case header
    case payload(HTTP2.FrameHeader)
    case padLength(HTTP2.FrameHeader)
    case data(HTTP2.FrameHeader, remaining: Int, padding: Int)
    case padding(HTTP2.FrameHeader, remaining: Int, total: Int)
    case dataEnd(HTTP2.FrameHeader, padding: Int)
  }

  private var state: State
  /// An incomplete frame header or payload.
  private var partial: [UInt8] = []
  private var releasesPartial = false

  /// Of frames other than DATA.
  private let maximumFrameSize: Int

  init(expectsPreface: Bool, maximumFrameSize: Int = HTTP2.maximumFrameSize) {
    state = expectsPreface ? .preface(matched: 0) : .header
    self.maximumFrameSize = maximumFrameSize
  }

  /// The next piece; `bytes` is shortened by what was used. nil: more bytes are needed.
  mutating func next(from bytes: inout UnsafeRawBufferPointer) throws(HTTP2Error) -> Piece? {
    if releasesPartial {
      partial.removeAll(keepingCapacity: partial.capacity <= 1024)
      releasesPartial = false
    }
    while true {
      switch state {
      case .preface(let matched):
        let expected = UnsafeRawBufferPointer(start: HTTP2.preface.utf8Start, count: HTTP2.preface.utf8CodeUnitCount)
        let count = min(expected.count - matched, bytes.count)
        guard bytes.prefix(count).elementsEqual(expected[matched..<matched + count]) else {
          throw HTTP2Error(code: .protocolError, reason: "not an HTTP/2 preface")
        }
        bytes = UnsafeRawBufferPointer(rebasing: bytes[count...])
        guard matched + count == expected.count else {
          state = .preface(matched: matched + count)
          return nil
        }
        state = .header
      case .header:
        guard let raw = take(HTTP2.frameHeaderLength, from: &bytes) else { return nil }
        let header = HTTP2.FrameHeader(raw)
        let isData = header.type == HTTP2.FrameType.data.rawValue
        guard header.length <= (isData ? HTTP2.maximumDataSize : maximumFrameSize) else {
          throw HTTP2Error(code: .frameSizeError, reason: "a frame of \(header.length) bytes")
        }
        guard isData else {
          state = .payload(header)
          continue
        }
        guard header.stream != 0 else { throw HTTP2Error(code: .protocolError, reason: "DATA on stream 0") }
        if header.has(HTTP2.Flag.padded) {
          guard header.length > 0 else { throw HTTP2Error(code: .frameSizeError, reason: "padding without a length") }
          state = .padLength(header)
        } else {
          state = .data(header, remaining: header.length, padding: 0)
        }
        return .dataBegins(header)
      case .payload(let header):
        guard let payload = take(header.length, from: &bytes) else { return nil }
        state = .header
        return .frame(header, payload)
      case .padLength(let header):
        guard let raw = take(1, from: &bytes) else { return nil }
        let padding = Int(raw[0])
        guard padding < header.length else {
          throw HTTP2Error(code: .protocolError, reason: "padding longer than its frame")
        }
        state = .data(header, remaining: header.length - 1 - padding, padding: padding)
      case .data(let header, let remaining, let padding):
        if remaining == 0 {
          let total = header.has(HTTP2.Flag.padded) ? padding + 1 : 0
          state =
            padding > 0
            ? .padding(header, remaining: padding, total: total) : .dataEnd(header, padding: total)
          continue
        }
        guard !bytes.isEmpty else { return nil }
        let count = min(remaining, bytes.count)
        let piece = UnsafeRawBufferPointer(rebasing: bytes[..<count])
        bytes = UnsafeRawBufferPointer(rebasing: bytes[count...])
        state = .data(header, remaining: remaining - count, padding: padding)
        return .data(stream: header.stream, piece)
      case .padding(let header, let remaining, let total):
        guard !bytes.isEmpty else { return nil }
        let count = min(remaining, bytes.count)
        bytes = UnsafeRawBufferPointer(rebasing: bytes[count...])
        state =
          remaining == count
          ? .dataEnd(header, padding: total) : .padding(header, remaining: remaining - count, total: total)
      case .dataEnd(let header, let padding):
        state = .header
        return .dataEnds(header, padding: padding)
      }
    }
  }

  /// `count` bytes in one piece: from the input where they lie there whole, else collected in `partial`.
  private mutating func take(_ count: Int, from bytes: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
    if releasesPartial {
      partial.removeAll(keepingCapacity: true)
      releasesPartial = false
    }
    if partial.isEmpty, bytes.count >= count {
      let whole = UnsafeRawBufferPointer(rebasing: bytes[..<count])
      bytes = UnsafeRawBufferPointer(rebasing: bytes[count...])
      return whole
    }
    let missing = min(count - partial.count, bytes.count)
    partial.append(contentsOf: bytes[..<missing])
    bytes = UnsafeRawBufferPointer(rebasing: bytes[missing...])
    guard partial.count == count else { return nil }
    releasesPartial = true
    // The storage stays in place until the next call changes `partial`: the pointer is used before that.
    return partial.withUnsafeBytes { UnsafeRawBufferPointer(start: $0.baseAddress, count: count) }
  }
}
