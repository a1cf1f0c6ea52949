/// What bytes HTTP allows where (RFC 9110 §5, RFC 3986), shared by whoever takes a message in: nothing that was refused
/// here ever reaches a peer, whichever version of HTTP carries it there.
public enum HTTPSyntax {
  /// A method or a field's name: tchar, at least one (RFC 9110 §5.6.2).
  public static func isToken(_ bytes: UnsafeRawBufferPointer) -> Bool {
    bytes.count > 0 && bytes.allSatisfy(isTokenByte)
  }

  /// A field's value: no control character but HTAB (RFC 9110 §5.5); obs-text is let through.
  public static func isFieldValue(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let base = bytes.baseAddress else { return true }
    return firstControl(base, 0, bytes.count) == bytes.count
  }

  /// A request's target: visible ASCII without `#` (RFC 9112 §3.2). Characters that RFC 3986 excludes but clients send
  /// unescaped, like `|`, are let through: they separate nothing.
  public static func isTarget(_ bytes: UnsafeRawBufferPointer) -> Bool {
    bytes.count > 0 && bytes.allSatisfy { isIn($0, 0xffff_fff6_0000_0000, 0x7fff_ffff_ffff_ffff) }
  }

  /// uri-host with or without a port: a registered name, an IPv4 address or an IPv6 literal (RFC 3986 §3.2). No user
  /// information (RFC 9110 §4.2.4), no empty host (§4.2.1), and where there is a colon a port up to 65535.
  public static func isAuthority(_ bytes: UnsafeRawBufferPointer, needsPort: Bool = false) -> Bool {
    var index = 0
    if bytes.first == UInt8(ascii: "[") {
      guard let close = bytes.firstIndex(of: UInt8(ascii: "]")), close > 3 else { return false }
      let isLiteral = bytes[1..<close].allSatisfy {
        hexValue($0) != nil || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".")
      }
      guard isLiteral, bytes[1..<close].contains(UInt8(ascii: ":")) else { return false }
      index = close + 1
    } else {
      while index < bytes.count, bytes[index] != UInt8(ascii: ":") {
        if bytes[index] == UInt8(ascii: "%") {
          guard index + 2 < bytes.count, hexValue(bytes[index + 1]) != nil, hexValue(bytes[index + 2]) != nil
          else { return false }
          index += 3
        } else {
          guard isIn(bytes[index], 0x2bff_7fd2_0000_0000, 0x47ff_fffe_87ff_fffe) else { return false }
          index += 1
        }
      }
      guard index > 0 else { return false }
    }
    guard index < bytes.count else { return !needsPort }
    let digits = bytes[(index + 1)...]
    guard bytes[index] == UInt8(ascii: ":"), 1...5 ~= digits.count else { return false }
    var port = 0
    for digit in digits {
      guard digit &- 48 < 10 else { return false }
      port = port * 10 + Int(digit - 48)
    }
    return port <= 65535
  }

  // MARK: Bytes

  /// Whether a 7-bit byte is in a set of two words, one bit for each.
  @inline(__always)
  private static func isIn(_ byte: UInt8, _ low: UInt64, _ high: UInt64) -> Bool {
    byte < 128 && ((byte < 64 ? low : high) >> UInt64(byte & 63)) & 1 != 0
  }

  @inline(__always)
  static func isTokenByte(_ byte: UInt8) -> Bool { isIn(byte, 0x03ff_6cfa_0000_0000, 0x57ff_ffff_c7ff_fffe) }

  @inline(__always)
  static func hexValue(_ byte: UInt8) -> UInt8? {
    if byte &- 48 < 10 { return byte - 48 }
    let letter = (byte | 0x20) &- 97
    return letter < 6 ? letter + 10 : nil
  }

  // MARK: Scanning, eight bytes at a time

  private static let ones: UInt64 = 0x0101_0101_0101_0101
  private static let tops: UInt64 = 0x8080_8080_8080_8080

  @inline(__always)
  private static func word(_ base: UnsafeRawPointer, _ index: Int) -> UInt64 {
    UInt64(littleEndian: base.loadUnaligned(fromByteOffset: index, as: UInt64.self))
  }

  /// The first LF in `start..<end`, or `end`.
  static func firstLineFeed(_ base: UnsafeRawPointer, _ start: Int, _ end: Int) -> Int {
    var index = start
    while index + 8 <= end {
      let difference = word(base, index) ^ (ones &* 10)
      // The lowest bit that is set is right: a borrow only goes upwards.
      let found = (difference &- ones) & ~difference & tops
      if found != 0 { return index + found.trailingZeroBitCount / 8 }
      index += 8
    }
    while index < end, base.load(fromByteOffset: index, as: UInt8.self) != 10 { index += 1 }
    return index
  }

  /// The first control character except HTAB in `start..<end`, or `end`.
  static func firstControl(_ base: UnsafeRawPointer, _ start: Int, _ end: Int) -> Int {
    var index = start
    while index < end {
      if index + 8 <= end {
        let bytes = word(base, index)
        let delete = bytes ^ (ones &* 127)
        let suspicious = ((bytes &- ones &* 32) & ~bytes | (delete &- ones) & ~delete) & tops
        if suspicious == 0 {
          index += 8
          continue
        }
      }
      // One of the next eight is a control character or HTAB, or fewer are left.
      let stop = min(index + 8, end)
      while index < stop {
        let byte = base.load(fromByteOffset: index, as: UInt8.self)
        if (byte < 32 && byte != 9) || byte == 127 { return index }
        index += 1
      }
    }
    return end
  }
}
