/// Why bytes from outside can't be used.
public struct WireError: Error, Equatable, CustomStringConvertible {
  public let reason: String

  public init(_ reason: String) { self.reason = reason }

  public var description: String { reason }
}

/// Reads the fields of one protobuf message where they lie. A message is bounded by its buffer; every length is checked
/// against it. Valid while the buffer is.
public struct ProtobufReader {
  public enum Value {
    case varint(UInt64)
    case bytes(UnsafeRawBufferPointer)
    /// A fixed-size number, which no message of the mesh uses.
    case skipped
  }

  private let bytes: UnsafeRawBufferPointer
  private var index = 0

  public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// The next field, or nil at the end.
  public mutating func next() throws(WireError) -> (number: UInt64, value: Value)? {
    guard index < bytes.count else { return nil }
    let tag = try varint()
    guard tag >> 3 > 0 else { throw WireError("a protobuf field has the number 0") }
    switch tag & 7 {
    case 0: return (tag >> 3, .varint(try varint()))
    case 1:
      try skip(8)
      return (tag >> 3, .skipped)
    case 2:
      let length = try varint()
      guard length <= UInt64(bytes.count - index) else {
        throw WireError("a protobuf field is longer than its message")
      }
      let start = index
      index += Int(length)
      return (tag >> 3, .bytes(UnsafeRawBufferPointer(rebasing: bytes[start..<index])))
    case 5:
      try skip(4)
      return (tag >> 3, .skipped)
    default: throw WireError("a protobuf field has the unknown wire type \(tag & 7)")
    }
  }

  private mutating func skip(_ count: Int) throws(WireError) {
    guard bytes.count - index >= count else { throw WireError("a protobuf message is cut off") }
    index += count
  }

  private mutating func varint() throws(WireError) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while index < bytes.count {
      let byte = bytes[index]
      index += 1
      guard shift < 63 || byte <= 1 else { throw WireError("a protobuf number has more than 64 bits") }
      value |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 { return value }
      shift += 7
    }
    throw WireError("a protobuf message is cut off")
  }
}

extension ProtobufReader.Value {
  func number(_ field: String) throws(WireError) -> UInt64 {
    guard case .varint(let value) = self else { throw WireError("\(field) is not a number") }
    return value
  }

  func flag(_ field: String) throws(WireError) -> Bool { try number(field) != 0 }

  func port(_ field: String) throws(WireError) -> UInt16 {
    let value = try number(field)
    guard value > 0, let port = UInt16(exactly: value) else { throw WireError("\(field): \(value) is not a port") }
    return port
  }

  func data(_ field: String) throws(WireError) -> UnsafeRawBufferPointer {
    guard case .bytes(let bytes) = self else { throw WireError("\(field) is not of the type bytes") }
    return bytes
  }

  func text(_ field: String, upTo limit: Int = 1024) throws(WireError) -> String {
    let bytes = try data(field)
    guard bytes.count <= limit else {
      throw WireError("\(field) has \(bytes.count) bytes; at most \(limit) are accepted")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else { throw WireError("\(field) is not UTF-8") }
    return text
  }
}
