/// An IPv4 or IPv6 address as a value: comparable, hashable, without allocation.
///
/// IPv4-mapped IPv6 addresses (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2) are kept as IPv4, so that one host
/// has one key whatever the family of the socket that named it.
public struct IPAddress: Hashable, Sendable {
  public enum Family: UInt8, Sendable { case v4, v6 }

  public let family: Family
  /// The first eight bytes in network order; 0 for IPv4.
  public let high: UInt64
  /// The last eight bytes in network order; for IPv4 the address in the low 32 bits.
  public let low: UInt64

  /// - Parameter v4: the address in host order: `0x7f00_0001` is 127.0.0.1.
  public init(v4: UInt32) {
    self.init(family: .v4, high: 0, low: UInt64(v4))
  }

  private init(family: Family, high: UInt64, low: UInt64) {
    self.family = family
    self.high = high
    self.low = low
  }

  public init(v6High: UInt64, v6Low: UInt64) {
    if v6High == 0, v6Low >> 32 == 0xffff {
      self.init(v4: UInt32(truncatingIfNeeded: v6Low))
    } else {
      self.init(family: .v6, high: v6High, low: v6Low)
    }
  }

  /// 4 or 16 bytes in network order; nil for any other count.
  public init?(bytes: some Collection<UInt8>) {
    switch bytes.count {
    case 4: self.init(v4: bytes.reduce(0) { $0 << 8 | UInt32($1) })
    case 16:
      let high = bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      let low = bytes.dropFirst(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      self.init(v6High: high, v6Low: low)
    default: return nil
    }
  }

  /// The address in network order: 4 or 16 bytes.
  public var bytes: [UInt8] {
    let lowBytes = (0..<8).map { UInt8(truncatingIfNeeded: low >> (56 - 8 * $0)) }
    if family == .v4 { return Array(lowBytes[4...]) }
    return (0..<8).map { UInt8(truncatingIfNeeded: high >> (56 - 8 * $0)) } + lowBytes
  }

  /// The IPv4 address in host order; nil for IPv6.
  public var v4: UInt32? { family == .v4 ? UInt32(truncatingIfNeeded: low) : nil }

  public var isLoopback: Bool {
    family == .v4 ? low >> 24 == 127 : high == 0 && low == 1
  }

  public var isUnspecified: Bool { high == 0 && low == 0 }

  public static let loopbackV4 = IPAddress(v4: 0x7f00_0001)
  public static let loopbackV6 = IPAddress(v6High: 0, v6Low: 1)
}

extension IPAddress: LosslessStringConvertible {
  /// Dotted decimal without leading zeros, or RFC 4291 §2.2 text (no zone).
  public init?(_ text: String) {
    let utf8 = Array(text.utf8)
    guard utf8.count <= 45 else { return nil }
    if utf8.contains(UInt8(ascii: ":")) {
      guard let words = Self.parseV6(utf8) else { return nil }
      let high = words[0..<4].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
      let low = words[4..<8].reduce(UInt64(0)) { $0 << 16 | UInt64($1) }
      self.init(v6High: high, v6Low: low)
    } else {
      guard let value = Self.parseV4(utf8[...]) else { return nil }
      self.init(v4: value)
    }
  }

  private static func parseV4(_ text: ArraySlice<UInt8>) -> UInt32? {
    let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var value: UInt32 = 0
    for part in parts {
      guard (1...3).contains(part.count), part.count == 1 || part.first != UInt8(ascii: "0") else { return nil }
      var octet: UInt32 = 0
      for byte in part {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
        octet = octet * 10 + UInt32(byte - UInt8(ascii: "0"))
      }
      guard octet <= 255 else { return nil }
      value = value << 8 | octet
    }
    return value
  }

  private static func parseV6(_ text: [UInt8]) -> [UInt16]? {
    var before: [UInt16] = []
    var after: [UInt16]?
    var index = 0
    if text.starts(with: [UInt8(ascii: ":")]) {
      guard text.count >= 2, text[1] == UInt8(ascii: ":") else { return nil }
      after = []
      index = 2
    }
    while index < text.count {
      let end = text[index...].firstIndex(of: UInt8(ascii: ":")) ?? text.count
      let part = text[index..<end]
      var words: [UInt16] = []
      if part.contains(UInt8(ascii: ".")) {
        guard end == text.count, let value = parseV4(part) else { return nil }
        words = [UInt16(value >> 16), UInt16(truncatingIfNeeded: value)]
      } else {
        guard (1...4).contains(part.count), let value = UInt16(String(decoding: part, as: UTF8.self), radix: 16),
          part.first != UInt8(ascii: "+")
        else { return nil }
        words = [value]
      }
      if after != nil { after! += words } else { before += words }
      index = end
      guard index < text.count else { break }
      index += 1
      if index < text.count, text[index] == UInt8(ascii: ":") {
        guard after == nil else { return nil }
        after = []
        index += 1
      } else if index == text.count {
        return nil
      }
    }
    guard let after else { return before.count == 8 ? before : nil }
    let missing = 8 - before.count - after.count
    guard missing >= 1 else { return nil }
    return before + Array(repeating: 0, count: missing) + after
  }

  /// The canonical text: dotted decimal, or RFC 5952.
  public var description: String {
    if family == .v4 {
      return "\(low >> 24 & 0xff).\(low >> 16 & 0xff).\(low >> 8 & 0xff).\(low & 0xff)"
    }
    let words = (0..<8).map { UInt16(truncatingIfNeeded: ($0 < 4 ? high : low) >> (48 - 16 * UInt64($0 % 4))) }
    var best = 0..<0
    var start = 0
    while start < 8 {
      let end = words[start...].firstIndex { $0 != 0 } ?? 8
      if end - start > best.count { best = start..<end }
      start = max(end, start) + 1
    }
    let hex = { (range: Range<Int>) in range.map { String(words[$0], radix: 16) }.joined(separator: ":") }
    guard best.count >= 2 else { return hex(0..<8) }
    return hex(0..<best.lowerBound) + "::" + hex(best.upperBound..<8)
  }
}

/// An address and a TCP or UDP port.
public struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
  public var ip: IPAddress
  /// In host order.
  public var port: UInt16

  public init(_ ip: IPAddress, _ port: UInt16) {
    self.ip = ip
    self.port = port
  }

  /// `a.b.c.d:port` or `[v6]:port`; nil for anything else.
  public init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":") else { return nil }
    let digits = text[text.index(after: colon)...]
    guard digits.first?.isNumber == true, let port = UInt16(digits) else { return nil }
    var host = text[..<colon]
    if host.first == "[" {
      guard host.last == "]" else { return nil }
      host = host.dropFirst().dropLast()
      guard host.contains(":") else { return nil }
    } else if host.contains(":") {
      return nil
    }
    guard let ip = IPAddress(String(host)) else { return nil }
    self.init(ip, port)
  }

  public var description: String {
    ip.family == .v4 ? "\(ip):\(port)" : "[\(ip)]:\(port)"
  }
}
