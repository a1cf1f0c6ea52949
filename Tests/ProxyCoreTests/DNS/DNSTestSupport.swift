import MeshModel

@testable import ProxyCore

/// Builds messages byte by byte, wrong ones too.
struct DNSPacket {
  var id: UInt16 = 0x1234
  var flags: UInt16 = 0x0100
  var counts: [UInt16] = [1, 0, 0, 0]
  var body: [UInt8] = []

  var bytes: [UInt8] {
    var bytes: [UInt8] = []
    for value in [id, flags] + counts { bytes += [UInt8(value >> 8), UInt8(value & 0xff)] }
    return bytes + body
  }

  static func name(_ text: String) -> [UInt8] {
    text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
  }

  static func query(_ name: String, _ type: UInt16 = 1, class queryClass: UInt8 = 1, payload: UInt16? = nil) -> Self {
    var packet = DNSPacket()
    packet.body = Self.name(name) + [UInt8(type >> 8), UInt8(type & 0xff), 0, queryClass]
    if let payload {
      packet.counts[3] = 1
      packet.body += Self.option(payload: payload)
    }
    return packet
  }

  static func option(payload: UInt16, version: UInt8 = 0, flags: UInt8 = 0) -> [UInt8] {
    [0, 0, 41, UInt8(payload >> 8), UInt8(payload & 0xff), 0, version, flags, 0, 0, 0]
  }
}

/// Reads an answer with a decoder of its own, so that the writer isn't checked by the code it shares.
struct DNSAnswer {
  struct Record: Equatable {
    var name: String
    var type: UInt16
    var ttl: UInt32
    var data: [UInt8]
    var dataOffset: Int
  }

  var id: UInt16
  var flags: UInt16
  var question: [UInt8]
  var sections: [[Record]]
  private let bytes: [UInt8]

  var code: UInt16 { flags & 0xf }
  var isTruncated: Bool { flags & 0x0200 != 0 }
  var isAuthoritative: Bool { flags & 0x0400 != 0 }
  var answers: [Record] { sections[0] }
  var authority: [Record] { sections[1] }
  var additional: [Record] { sections[2] }
  /// The addresses in A and AAAA answers.
  var addresses: [String] {
    answers.filter { [1, 28].contains($0.type) }.compactMap { IPAddress(bytes: $0.data)?.description }
  }

  /// Nil where the message isn't well-formed to its last byte.
  init?(_ bytes: [UInt8]) {
    guard bytes.count >= 12 else { return nil }
    func word(_ offset: Int) -> UInt16 { UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1]) }
    self.bytes = bytes
    id = word(0)
    flags = word(2)
    var offset = 12
    if word(4) == 1 {
      guard let (_, end) = Self.name(bytes, 12), end + 4 <= bytes.count else { return nil }
      offset = end + 4
    } else if word(4) != 0 {
      return nil
    }
    question = Array(bytes[12..<offset])
    sections = []
    for section in 0..<3 {
      var records: [Record] = []
      for _ in 0..<word(6 + 2 * section) {
        guard let (name, end) = Self.name(bytes, offset), end + 10 <= bytes.count else { return nil }
        let start = end + 10
        offset = start + Int(word(end + 8))
        guard offset <= bytes.count else { return nil }
        records.append(
          Record(
            name: name, type: word(end), ttl: UInt32(word(end + 4)) << 16 | UInt32(word(end + 6)),
            data: Array(bytes[start..<offset]), dataOffset: start))
      }
      sections.append(records)
    }
    guard offset == bytes.count else { return nil }
  }

  /// The name at the offset, pointers followed.
  func name(at offset: Int) -> String? { Self.name(bytes, offset)?.0 }

  private static func name(_ bytes: [UInt8], _ start: Int) -> (String, Int)? {
    var labels: [String] = []
    var offset = start
    var end: Int?
    for _ in 0..<256 {
      guard offset < bytes.count else { return nil }
      let length = Int(bytes[offset])
      if length == 0 { return (labels.joined(separator: "."), end ?? offset + 1) }
      if length >= 0xc0 {
        guard offset + 1 < bytes.count else { return nil }
        end = end ?? offset + 2
        offset = (length & 0x3f) << 8 | Int(bytes[offset + 1])
        continue
      }
      guard offset + 1 + length <= bytes.count else { return nil }
      labels.append(String(decoding: bytes[offset + 1..<offset + 1 + length], as: UTF8.self))
      offset += 1 + length
    }
    return nil
  }
}

/// A small mesh: a Service with both families, one with IPv4 only, headless ones.
struct TestZone: DNSZone {
  var clusterDomain = "cluster.local"
  var records: [ServiceKey: DNSServiceRecord] = [:]
  var meshAddresses: Set<IPAddress> = []

  func dnsRecord(of key: ServiceKey) -> DNSServiceRecord? { records[key] }
  func isMeshAddress(_ address: IPAddress) -> Bool { meshAddresses.contains(address) }

  mutating func add(
    _ key: String, _ addresses: [String], ports: [Service.Port] = [], publishNotReady: Bool = false,
    endpoints: [ServiceEndpoint] = []
  ) {
    let key = ServiceKey(key)!
    let service = Service(
      key: key, addresses: addresses.map { IPAddress($0)! }, ports: ports, publishNotReadyAddresses: publishNotReady)
    records[key] = DNSServiceRecord(service: service, endpoints: endpoints)
    meshAddresses.formUnion(service.addresses)
  }

  static func endpoint(
    _ addresses: [String], hostname: String = "", isReady: Bool = true, ports: [Workload.PortMapping] = []
  ) -> ServiceEndpoint {
    ServiceEndpoint(
      workloadID: "", addresses: addresses.map { IPAddress($0)! }, node: "", hostname: hostname, isReady: isReady,
      ports: ports)
  }

  static let bookshop: TestZone = {
    var zone = TestZone()
    let http = Service.Port(port: 80, name: "http")
    zone.add(
      "shop/reviews", ["10.96.0.1", "fd00:96::1"], ports: [http, .init(port: 53, name: "dns", transport: .udp)])
    zone.add("shop/ratings", ["10.96.0.2"], ports: [.init(port: 80)])
    zone.add("com/example", ["10.96.0.3"])
    let mapping = [Workload.PortMapping(servicePort: 80, targetPort: 8080)]
    zone.add(
      "shop/db", [], ports: [http],
      endpoints: [
        endpoint(["10.244.1.2", "fd00:244:1::2"], hostname: "db-0", ports: mapping),
        endpoint(["10.244.2.2"], hostname: "db-1", ports: mapping),
        endpoint(["10.244.2.3"], ports: mapping),
        endpoint(["10.244.2.4"], hostname: "db-3", isReady: false, ports: mapping),
      ])
    zone.add(
      "shop/gossip", [], publishNotReady: true, endpoints: [endpoint(["10.244.1.9"], hostname: "g-0", isReady: false)])
    zone.add("shop/empty", [])
    return zone
  }()
}

/// SplitMix64: the same numbers on every machine.
struct SeededRandom: RandomNumberGenerator, Sendable {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}

func resolve(
  _ bytes: [UInt8], from namespace: String = "shop", transport: DNSTransport = .udp, zone: TestZone = .bookshop,
  random: UInt64 = 0
) -> DNSResolver.Verdict {
  bytes.withUnsafeBytes {
    DNSResolver(namespace: namespace).resolve($0, transport: transport, zone: zone, random: random)
  }
}

extension DNSResolver.Verdict {
  var answer: DNSAnswer? {
    if case .answer(let bytes) = self { DNSAnswer(bytes) } else { nil }
  }
}
