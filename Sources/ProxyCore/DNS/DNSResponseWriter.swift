import MeshModel

/// Writes an answer that is never longer than the client takes. Records go in the order of their sections:
/// answers, authority, additional.
struct DNSResponseWriter {
  private var bytes: [UInt8]
  private let query: DNSQuery
  /// Bytes that records may fill; the OPT record's room is kept free.
  private let room: Int
  private var answers: UInt16 = 0
  private var authorities: UInt16 = 0
  private var additionals: UInt16 = 0
  private var isTruncated = false

  private static let optionLength = 11

  init(_ query: DNSQuery, message: UnsafeRawBufferPointer, transport: DNSTransport) {
    self.query = query
    room = query.answerLimit(transport) - (query.edns == nil ? 0 : Self.optionLength)
    bytes = []
    bytes.reserveCapacity(min(DNSLimits.classicPayload, room))
    // The question as it came: its case is the client's nonce (draft-vixie-dnsext-dns0x20).
    bytes.append(contentsOf: message[..<query.questionEnd])
  }

  /// Adds A or AAAA records for the question's name, starting with the one that `rotation` picks. What doesn't
  /// fit is left out and TC set, so that the client comes back by TCP (RFC 7766 §5).
  mutating func answer(addresses: [IPAddress], rotation: UInt64) {
    for index in addresses.indices {
      let address = addresses[Self.rotated(index, addresses.count, rotation)]
      guard !isTruncated, appendAddress(address, owner: DNSLimits.header) else {
        isTruncated = true
        return
      }
      answers += 1
    }
  }

  /// A target of SRV records with the addresses that belong in the additional section.
  struct Target {
    var name: [UInt8]
    var port: UInt16
    var addresses: [IPAddress]
  }

  /// Adds SRV records (RFC 2782; their targets aren't compressed) and, while there's room, the addresses.
  mutating func answer(targets: [Target], rotation: UInt64) {
    var offsets: [Int] = []
    let weight = UInt16(max(1, 100 / max(1, targets.count)))
    for index in targets.indices {
      let target = targets[Self.rotated(index, targets.count, rotation)]
      guard !isTruncated, bytes.count + 18 + target.name.count <= room else {
        isTruncated = true
        return
      }
      appendFixed(owner: DNSLimits.header, DNSType.srv, DNSLimits.ttl, length: 6 + target.name.count)
      bytes.appendDNS(UInt16(0))
      bytes.appendDNS(weight)
      bytes.appendDNS(target.port)
      offsets.append(bytes.count)
      bytes.append(contentsOf: target.name)
      answers += 1
    }
    // Addresses are a courtesy: leaving them out is no truncation (RFC 2181 §9).
    for (index, offset) in offsets.enumerated() {
      for address in targets[Self.rotated(index, targets.count, rotation)].addresses {
        guard offset <= 0x3fff, appendAddress(address, owner: offset) else { return }
        additionals += 1
      }
    }
  }

  /// The zone's SOA as the answer, or in the authority section, where it says for how long an absence may be
  /// cached (RFC 2308 §3).
  mutating func appendSOA(zoneLabels: Int, asAnswer: Bool) {
    let zone = DNSLimits.header + query.name.offset(ofLabel: query.name.labelCount - zoneLabels)
    let server: [UInt8] = [2] + Array("ns".utf8) + [3] + Array("dns".utf8)
    let contact: [UInt8] = [10] + Array("hostmaster".utf8)
    let length = server.count + contact.count + 4 + 20
    guard bytes.count + 12 + length <= room else {
      isTruncated = true
      return
    }
    appendFixed(owner: zone, DNSType.soa, DNSLimits.negativeTTL, length: length)
    for prefix in [server, contact] {
      bytes.append(contentsOf: prefix)
      bytes.appendDNS(0xc000 | UInt16(zone))
    }
    // Serial, refresh, retry, expire: nobody transfers this zone, so they are the customary values.
    for value: UInt32 in [1, 7_200, 1_800, 86_400, DNSLimits.negativeTTL] { bytes.appendDNS(value) }
    if asAnswer { answers += 1 } else { authorities += 1 }
  }

  consuming func finish(_ code: DNSResponseCode, isAuthoritative: Bool) -> [UInt8] {
    if let edns = query.edns {
      bytes.append(0)
      bytes.appendDNS(DNSType.opt)
      bytes.appendDNS(DNSLimits.payload.upperBound)
      bytes.append(UInt8(code.rawValue >> 4))
      bytes.append(0)
      bytes.appendDNS(edns.isDNSSECOK ? UInt16(0x8000) : 0)
      bytes.appendDNS(UInt16(0))
      additionals += 1
    }
    let kept = DNSFlag.opcode | DNSFlag.recursionDesired | DNSFlag.checkingDisabled
    var flags = query.flags & kept | DNSFlag.response | DNSFlag.recursionAvailable
    if isAuthoritative { flags |= DNSFlag.authoritative }
    if isTruncated { flags |= DNSFlag.truncated }
    bytes.setDNS(flags | code.rawValue & DNSFlag.responseCode, at: 2)
    bytes.setDNS(1, at: 4)
    bytes.setDNS(answers, at: 6)
    bytes.setDNS(authorities, at: 8)
    bytes.setDNS(additionals, at: 10)
    return bytes
  }

  private mutating func appendAddress(_ address: IPAddress, owner: Int) -> Bool {
    let length = address.family == .v4 ? 4 : 16
    guard bytes.count + 12 + length <= room else { return false }
    appendFixed(
      owner: owner, address.family == .v4 ? DNSType.a : DNSType.aaaa, DNSLimits.ttl, length: length)
    if address.family == .v6 {
      bytes.appendDNS(UInt32(truncatingIfNeeded: address.high >> 32))
      bytes.appendDNS(UInt32(truncatingIfNeeded: address.high))
      bytes.appendDNS(UInt32(truncatingIfNeeded: address.low >> 32))
    }
    bytes.appendDNS(UInt32(truncatingIfNeeded: address.low))
    return true
  }

  /// A record up to its data; the owner is a pointer (RFC 1035 §4.1.4).
  private mutating func appendFixed(owner: Int, _ type: UInt16, _ ttl: UInt32, length: Int) {
    bytes.appendDNS(0xc000 | UInt16(owner))
    bytes.appendDNS(type)
    bytes.appendDNS(DNSClass.internet)
    bytes.appendDNS(ttl)
    bytes.appendDNS(UInt16(length))
  }

  private static func rotated(_ index: Int, _ count: Int, _ rotation: UInt64) -> Int {
    (index + Int(rotation % UInt64(count))) % count
  }
}
