/// What a field means to the frame layer, known once for each entry of a table.
enum FieldKind: UInt8, Sendable {
  case regular
  case method, scheme, authority, path, status
  case host, contentLength, cookie, te
  /// Of one HTTP/1.1 connection only (RFC 9113 §8.2.2).
  case connectionSpecific
  /// No field name, a pseudo-header field that there isn't, or a value with bytes that none may have.
  case malformed

  /// By name. Upper case is malformed (RFC 9113 §8.2.1).
  init(name: UnsafeRawBufferPointer) {
    self.init(known: name)
    if self == .regular, name.isEmpty || !name.allSatisfy(FieldBytes.isLowercaseToken) { self = .malformed }
  }

  /// By a name in lower case; `regular` for all that have no meaning here.
  init(known name: UnsafeRawBufferPointer) {
    self = .regular
    switch name.count {
    case 2 where name.equals("te"): self = .te
    case 4 where name.equals("host"): self = .host
    case 5 where name.equals(":path"): self = .path
    case 6 where name.equals("cookie"): self = .cookie
    case 7:
      if name.equals(":method") { self = .method }
      if name.equals(":scheme") { self = .scheme }
      if name.equals(":status") { self = .status }
      if name.equals("upgrade") { self = .connectionSpecific }
    case 10:
      if name.equals(":authority") { self = .authority }
      if name.equals("connection") || name.equals("keep-alive") { self = .connectionSpecific }
    case 14 where name.equals("content-length"): self = .contentLength
    case 16 where name.equals("proxy-connection"): self = .connectionSpecific
    case 17 where name.equals("transfer-encoding"): self = .connectionSpecific
    default: break
    }
  }
}

/// Which bytes may stand where.
enum FieldBytes {
  /// A token (RFC 9110 §5.6.2) without upper case.
  @inline(__always)
  static func isLowercaseToken(_ byte: UInt8) -> Bool {
    byte < 64 ? lowTokens >> UInt64(byte) & 1 == 1 : byte < 128 && lowercaseTokens >> UInt64(byte - 64) & 1 == 1
  }

  /// Neither control characters nor white space at the ends (RFC 9113 §8.2.1).
  static func isValue(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let first = bytes.first, let last = bytes.last else { return true }
    guard first > 0x20, last > 0x20 else { return false }
    return bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }
  }

  /// What a path may hold when an HTTP/1.1 request line can carry it: no white space, no control characters, no fragment.
  static func isTarget(_ bytes: UnsafeRawBufferPointer) -> Bool {
    bytes.allSatisfy { $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "#") }
  }

  /// A host and port: neither user information nor another part of a URI.
  static func isAuthority(_ bytes: UnsafeRawBufferPointer) -> Bool {
    bytes.allSatisfy {
      switch $0 {
      case 0...0x20, 0x7f...0xff, UInt8(ascii: "/"), UInt8(ascii: "?"), UInt8(ascii: "#"), UInt8(ascii: "@"),
        UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: ","):
        false
      default: true
      }
    }
  }

  /// RFC 3986 §3.1, lower case.
  static func isScheme(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let first = bytes.first, first &- UInt8(ascii: "a") < 26 else { return false }
    return bytes.allSatisfy { $0 &- UInt8(ascii: "a") < 26 || $0 &- UInt8(ascii: "0") < 10 || "+-.".utf8.contains($0) }
  }

  /// A bit for each byte: `!#$%&'*+-.0123456789`, and from 64 on ``^_`a...z|~``.
  private static let lowTokens: UInt64 = 0x03ff_6cfa_0000_0000
  private static let lowercaseTokens: UInt64 = 0x57ff_ffff_c000_0000
}

extension UnsafeRawBufferPointer {
  /// Of a literal, which stays where it is.
  @inline(__always)
  init(_ text: StaticString) { self.init(start: text.utf8Start, count: text.utf8CodeUnitCount) }

  @inline(__always)
  func equals(_ text: StaticString) -> Bool { equals(UnsafeRawBufferPointer(text)) }

  @inline(__always)
  func equals(_ other: UnsafeRawBufferPointer) -> Bool {
    guard count == other.count else { return false }
    var offset = 0
    while offset + 8 <= count {
      guard
        loadUnaligned(fromByteOffset: offset, as: UInt64.self)
          == other.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      else { return false }
      offset += 8
    }
    while offset < count {
      guard self[offset] == other[offset] else { return false }
      offset += 1
    }
    return true
  }

  func equalsIgnoringCase(_ lowercase: StaticString) -> Bool {
    count == lowercase.utf8CodeUnitCount
      && zip(self, UnsafeRawBufferPointer(lowercase)).allSatisfy { $0.asciiLowercase == $1 }
  }
}
