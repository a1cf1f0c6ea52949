/// What a query asks (RFC 1035 §4.1, RFC 6891), read and checked to its last byte.
struct DNSQuery {
  var id: UInt16
  var flags: UInt16
  var name: DNSWireName
  var type: UInt16
  var queryClass: UInt16
  /// The question stands in the message from byte 12 to here.
  var questionEnd: Int
  var edns: EDNS?

  struct EDNS {
    /// Clamped to `DNSLimits.payload`.
    var payloadSize: UInt16
    /// Where the size stands in the message, not clamped.
    var payloadSizeOffset: Int
    var version: UInt8
    var isDNSSECOK: Bool
  }

  /// - Parameter message: at least a header with opcode QUERY and QR clear; the resolver has looked.
  init(_ message: UnsafeRawBufferPointer) throws(DNSFormatError) {
    guard message.count >= DNSLimits.header else { throw .tooShort }
    guard message.count <= DNSLimits.query else { throw .tooLong }
    id = message.dnsUInt16(at: 0)
    flags = message.dnsUInt16(at: 2)
    // More than one question never had a meaning (RFC 9619).
    guard message.dnsUInt16(at: 4) == 1 else { throw .questionCount }
    guard message.dnsUInt16(at: 6) == 0 else { throw .answerInQuery }
    let authorityCount = Int(message.dnsUInt16(at: 8))
    let additionalCount = Int(message.dnsUInt16(at: 10))
    var offset = DNSLimits.header
    name = try DNSWireName(reading: message, at: &offset)
    guard offset + 4 <= message.count else { throw .truncated }
    type = message.dnsUInt16(at: offset)
    queryClass = message.dnsUInt16(at: offset + 2)
    offset += 4
    questionEnd = offset
    // Each record takes bytes of the message, so a count that lies ends the loop early.
    for index in 0..<authorityCount + additionalCount {
      let option = try Self.readRecord(message, at: &offset)
      guard let option, index >= authorityCount else { continue }
      guard edns == nil else { throw .secondOption }
      edns = option
    }
    guard offset == message.count else { throw .trailingBytes }
  }

  /// Moves `offset` behind a record; gives its meaning if it's an OPT (RFC 6891 §6.1.2).
  private static func readRecord(
    _ message: UnsafeRawBufferPointer, at offset: inout Int
  ) throws(DNSFormatError) -> EDNS? {
    let start = offset
    try DNSWireName.skip(message, at: &offset)
    let isRoot = message[start] == 0
    guard offset + 10 <= message.count else { throw .truncated }
    let fields = offset
    offset += 10 + Int(message.dnsUInt16(at: fields + 8))
    guard offset <= message.count else { throw .truncated }
    guard message.dnsUInt16(at: fields) == DNSType.opt else { return nil }
    guard isRoot else { throw .badOption }
    let size = message.dnsUInt16(at: fields + 2)
    return EDNS(
      payloadSize: min(max(size, DNSLimits.payload.lowerBound), DNSLimits.payload.upperBound),
      payloadSizeOffset: fields + 2, version: message[fields + 5], isDNSSECOK: message[fields + 6] & 0x80 != 0)
  }

  /// The most bytes that an answer may have.
  func answerLimit(_ transport: DNSTransport) -> Int {
    transport == .tcp ? DNSLimits.message : edns.map { Int($0.payloadSize) } ?? DNSLimits.classicPayload
  }
}
