/// How a DNS message travels. It decides the length that an answer may have.
public enum DNSTransport: Hashable, Sendable { case udp, tcp }

/// The bounds that hold for every message, whoever sent it.
public enum DNSLimits {
  /// Bytes of a header (RFC 1035 §4.1.1).
  static let header = 12
  /// Bytes of a message; the length prefix over TCP has two (RFC 1035 §4.2.2).
  public static let message = 65_535
  /// Bytes of a query. A question takes at most 271; the rest is for EDNS options.
  public static let query = 4_096
  /// Bytes of a name on the wire, its lengths and the final zero included (RFC 1035 §2.3.4).
  static let name = 255
  /// Compression pointers followed in one name.
  static let pointerHops = 16
  /// Bytes of a UDP answer to a client without EDNS (RFC 1035 §4.2.1).
  static let classicPayload = 512
  /// A client's EDNS payload size is clamped to these (RFC 6891 §6.2.3 and §6.2.5).
  static let payload: ClosedRange<UInt16> = 512...4_096
  /// Seconds that an answer may be cached. Short, since endpoints come and go.
  static let ttl: UInt32 = 5
  /// Seconds that a name's absence may be cached (RFC 2308 §5).
  static let negativeTTL: UInt32 = 5
}

/// Query types (RFC 1035 §3.2.2 and §3.2.3; RFC 2782 SRV; RFC 3596 AAAA; RFC 6891 OPT).
enum DNSType {
  static let a: UInt16 = 1
  static let soa: UInt16 = 6
  static let ptr: UInt16 = 12
  static let aaaa: UInt16 = 28
  static let srv: UInt16 = 33
  static let opt: UInt16 = 41
  static let ixfr: UInt16 = 251
  static let axfr: UInt16 = 252
  static let any: UInt16 = 255
}

/// Classes (RFC 1035 §3.2.4).
enum DNSClass {
  static let internet: UInt16 = 1
  static let any: UInt16 = 255
}

/// Header flags (RFC 1035 §4.1.1, RFC 4035 §3.2.2 for CD).
enum DNSFlag {
  static let response: UInt16 = 0x8000
  static let opcode: UInt16 = 0x7800
  static let authoritative: UInt16 = 0x0400
  static let truncated: UInt16 = 0x0200
  static let recursionDesired: UInt16 = 0x0100
  static let recursionAvailable: UInt16 = 0x0080
  static let checkingDisabled: UInt16 = 0x0010
  static let responseCode: UInt16 = 0x000f
}

/// Response codes (RFC 1035 §4.1.1; RFC 6891 §9 for BADVERS, whose upper bits stand in the OPT record).
public enum DNSResponseCode: UInt16, Hashable, Sendable {
  case noError = 0
  case formatError = 1
  case serverFailure = 2
  case nameError = 3
  case notImplemented = 4
  case refused = 5
  case badVersion = 16
}

/// Why a message can't be read.
public enum DNSFormatError: Error, Hashable, Sendable, CustomStringConvertible {
  case tooShort, tooLong, truncated, nameTooLong, badLabel, badPointer, questionCount, answerInQuery
  case trailingBytes, badOption, secondOption

  public var description: String {
    switch self {
    case .tooShort: "The message is shorter than the 12 bytes of a DNS header."
    case .tooLong: "The query is longer than \(DNSLimits.query) bytes."
    case .truncated: "The message ends inside a record that its header announces."
    case .nameTooLong: "A name is longer than \(DNSLimits.name) bytes."
    case .badLabel: "A label has a type other than a plain label or a pointer."
    case .badPointer: "A compression pointer doesn't point backwards, or there are too many of them."
    case .questionCount: "The message doesn't have exactly one question."
    case .answerInQuery: "The query carries answer records."
    case .trailingBytes: "Bytes follow the last record."
    case .badOption: "The OPT record isn't owned by the root."
    case .secondOption: "The message has more than one OPT record."
    }
  }
}
