/// What a client keeps of its session: its endpoint, mixed with whose session it is, and two times. Always 33
/// characters: the version `1`, 16 digits for the endpoint, 8 for each time, hexadecimal in lower case.
///
/// It is the same on every node and no secret, nor is it signed: who makes one up reaches an endpoint that the Service
/// would have given anyway.
public struct SessionToken: Sendable, Hashable {
  public static let length = 33
  private static let version = UInt8(ascii: "1")

  /// Opaque: see `SessionKeeper`.
  public var endpoint: UInt64
  /// Seconds since 1970 by the issuer's clock: of the session's begin, and of the last use that was noted, which isn't
  /// before it.
  public var issued: UInt32
  public var used: UInt32

  public init(endpoint: UInt64, issued: UInt32, used: UInt32) {
    self.endpoint = endpoint
    self.issued = issued
    self.used = used
  }

  /// nil for anything that `write` doesn't write, other versions too.
  public init?(_ text: UnsafeRawBufferPointer) {
    guard text.count == Self.length, text[0] == Self.version,
      let endpoint = Self.number(text[1..<17]), let issued = Self.number(text[17..<25]),
      let used = Self.number(text[25..<33]), issued <= used
    else { return nil }
    self.init(endpoint: endpoint, issued: UInt32(issued), used: UInt32(used))
  }

  public func write(to bytes: inout [UInt8]) {
    bytes.append(Self.version)
    Self.write(endpoint, digits: 16, to: &bytes)
    Self.write(UInt64(issued), digits: 8, to: &bytes)
    Self.write(UInt64(used), digits: 8, to: &bytes)
  }

  private static func number(_ digits: Slice<UnsafeRawBufferPointer>) -> UInt64? {
    var value: UInt64 = 0
    for byte in digits {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt64(byte - UInt8(ascii: "0"))
      case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt64(byte - UInt8(ascii: "a") + 10)
      default: return nil
      }
    }
    return value
  }

  private static func write(_ value: UInt64, digits: Int, to bytes: inout [UInt8]) {
    for place in (0..<digits).reversed() {
      let digit = UInt8(truncatingIfNeeded: value >> UInt64(4 * place)) & 15
      bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
    }
  }
}
