/// Integers with a prefix of 1...8 bits (RFC 7541 §5.1).
enum HPACKInteger {
  /// More than any length or index that is accepted: also keeps the sum from overflowing.
  static let maximum = 1 << 24
  /// What a value up to `maximum` takes at most.
  static let longest = 5

  /// Reads at `cursor`, which is moved behind; nil where the block ends before or the value is over `maximum`.
  @inline(__always)
  static func read(_ block: UnsafeRawBufferPointer, at cursor: inout Int, prefix: Int) -> Int? {
    guard cursor < block.count else { return nil }
    let mask = (1 << prefix) - 1
    var value = Int(block[cursor]) & mask
    cursor += 1
    guard value == mask else { return value }
    var shift = 0
    while cursor < block.count, shift <= 21 {
      let byte = Int(block[cursor])
      cursor += 1
      value += (byte & 0x7f) << shift
      if byte & 0x80 == 0 { return value <= maximum ? value : nil }
      shift += 7
    }
    return nil
  }

  /// Writes with `pattern` in the bits above the prefix; returns the count of bytes.
  @inline(__always)
  static func write(
    _ value: Int, prefix: Int, pattern: UInt8, to target: UnsafeMutableRawPointer
  ) -> Int {
    let mask = (1 << prefix) - 1
    guard value >= mask else {
      target.storeBytes(of: pattern | UInt8(truncatingIfNeeded: value), as: UInt8.self)
      return 1
    }
    target.storeBytes(of: pattern | UInt8(truncatingIfNeeded: mask), as: UInt8.self)
    var rest = value - mask
    var count = 1
    while rest >= 0x80 {
      target.storeBytes(of: UInt8(truncatingIfNeeded: rest) | 0x80, toByteOffset: count, as: UInt8.self)
      rest >>= 7
      count += 1
    }
    target.storeBytes(of: UInt8(truncatingIfNeeded: rest), toByteOffset: count, as: UInt8.self)
    return count + 1
  }
}
