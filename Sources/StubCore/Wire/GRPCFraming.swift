/// gRPC's messages in a stream of bytes: a byte that says whether it is compressed (never, here), four of length, and
/// the message.
public struct GRPCReader {
  private let limit: Int
  private var buffer: [UInt8] = []

  /// - Parameter limit: bytes of one message.
  public init(limit: Int) { self.limit = limit }

  /// Takes what has come and hands each complete message to `body`.
  public mutating func receive(
    _ bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) throws(WireError) -> Void
  ) throws(WireError) {
    buffer += bytes
    var used = 0
    while buffer.count - used >= 5 {
      guard buffer[used] == 0 else { throw WireError("a gRPC message is compressed, which was not asked for") }
      let length = buffer[used + 1..<used + 5].reduce(0) { $0 << 8 | Int($1) }
      guard length <= limit else { throw WireError("a gRPC message of \(length) bytes; at most \(limit) are accepted") }
      guard buffer.count - used - 5 >= length else { break }
      let range = used + 5..<used + 5 + length
      let taken = buffer.withUnsafeBytes { all -> Result<Void, WireError> in
        do throws(WireError) {
          return .success(try body(UnsafeRawBufferPointer(rebasing: all[range])))
        } catch {
          return .failure(error)
        }
      }
      try taken.get()
      used = range.upperBound
    }
    // What held a large message is given back.
    if used == buffer.count { buffer = [] } else if used > 0 { buffer.removeFirst(used) }
  }

  public var isEmpty: Bool { buffer.isEmpty }
}

public enum GRPCWriter {
  /// A message with its frame.
  public static func frame(_ message: [UInt8]) -> [UInt8] {
    let length = UInt32(message.count)
    return [0] + (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + message
  }
}
