/// Appends the fields of a protobuf message.
public struct ProtobufWriter {
  public private(set) var bytes: [UInt8] = []

  public init() {}

  public mutating func text(_ number: UInt64, _ value: String) {
    guard !value.isEmpty else { return }
    data(number, Array(value.utf8))
  }

  public mutating func data(_ number: UInt64, _ value: [UInt8]) {
    varint(number << 3 | 2)
    varint(UInt64(value.count))
    bytes += value
  }

  /// - Parameter isPresent: an `optional` field, which says 0 by standing there.
  public mutating func number(_ number: UInt64, _ value: UInt64, isPresent: Bool = false) {
    guard value != 0 || isPresent else { return }
    varint(number << 3)
    varint(value)
  }

  public mutating func message(_ number: UInt64, _ body: (inout ProtobufWriter) -> Void) {
    var inner = ProtobufWriter()
    body(&inner)
    data(number, inner.bytes)
  }

  private mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}
