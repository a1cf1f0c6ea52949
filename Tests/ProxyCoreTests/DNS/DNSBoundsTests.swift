import MeshModel
import Testing

@testable import ProxyCore

@Suite struct DNSBoundsTests {
  /// A headless Service with so many IPv4 workloads.
  static func zone(endpoints count: Int) -> TestZone {
    var zone = TestZone()
    zone.add(
      "shop/many", [], ports: [.init(port: 80, name: "http")],
      endpoints: (0..<count).map { index in
        TestZone.endpoint(
          ["10.\(index / 65536).\(index / 256 % 256).\(index % 256)"], hostname: "p-\(index)",
          ports: [.init(servicePort: 80, targetPort: 80)])
      })
    return zone
  }

  @Test func truncatesAtTheClientsSize() throws {
    let zone = Self.zone(endpoints: 1_000)
    let name = "many.shop.svc.cluster.local"
    let sizes: [(UInt16?, Int)] = [
      (nil, 512), (0, 512), (511, 512), (1_232, 1_232), (4_096, 4_096), (65_535, 4_096),
    ]
    for (payload, limit) in sizes {
      let verdict = resolve(DNSPacket.query(name, payload: payload).bytes, zone: zone)
      guard case .answer(let bytes) = verdict else {
        Issue.record("\(verdict)")
        continue
      }
      let answer = try #require(verdict.answer)
      #expect(bytes.count <= limit && bytes.count > limit - 16)
      #expect(answer.isTruncated)
      #expect(answer.additional.map(\.type) == (payload == nil ? [] : [41]), "the OPT record isn't what's left out")
    }
    let stream = try #require(resolve(DNSPacket.query(name).bytes, transport: .tcp, zone: zone).answer)
    #expect(!stream.isTruncated && stream.addresses.count == 1_000)
  }

  @Test func streamsHaveALimitToo() throws {
    let verdict = resolve(
      DNSPacket.query("many.shop.svc.cluster.local").bytes, transport: .tcp, zone: Self.zone(endpoints: 5_000))
    guard case .answer(let bytes) = verdict else {
      Issue.record("\(verdict)")
      return
    }
    #expect(bytes.count <= 65_535)
    #expect(try #require(verdict.answer).isTruncated)
  }

  @Test func serviceRecordsTruncate() throws {
    let query = DNSPacket.query("_http._tcp.many.shop.svc.cluster.local", 33)
    let answer = try #require(resolve(query.bytes, zone: Self.zone(endpoints: 100)).answer)
    #expect(answer.isTruncated && !answer.answers.isEmpty)
    // All SRV records fit, not all the addresses: nothing that was asked for is missing.
    let few = try #require(resolve(query.bytes, zone: Self.zone(endpoints: 8)).answer)
    #expect(!few.isTruncated && few.answers.count == 8 && few.additional.count < 8)
    // Past 16,383 bytes no pointer can reach a target.
    let stream = try #require(
      resolve(query.bytes, transport: .tcp, zone: Self.zone(endpoints: 600)).answer)
    #expect(!stream.isTruncated && stream.answers.count == 600)
  }

  @Test func whatIsNoQueryIsDropped() {
    #expect(resolve([]) == .drop)
    #expect(resolve(Array(DNSPacket.query("reviews").bytes.prefix(11))) == .drop)
    var response = DNSPacket.query("reviews")
    response.flags = 0x8180
    #expect(resolve(response.bytes) == .drop)
  }

  @Test func otherOperationsAreNotImplemented() throws {
    for opcode: UInt16 in 1..<16 {
      var packet = DNSPacket.query("reviews")
      packet.flags = opcode << 11 | 0x0100
      let answer = try #require(resolve(packet.bytes).answer)
      #expect(answer.code == 4)
      #expect(answer.flags & 0x7800 == opcode << 11)
    }
  }

  static let malformed: [(String, DNSPacket)] = {
    let question = DNSPacket.query("reviews").body
    let tail: [UInt8] = [0, 1, 0, 1]
    let label63 = [63] + [UInt8](repeating: 0x61, count: 63)
    let label62 = [62] + [UInt8](repeating: 0x61, count: 62)
    let longName: [UInt8] = label63 + label63 + label63 + label62 + tail
    let option = DNSPacket.option(payload: 512)
    let loop: [UInt8] = question + [0xc0, UInt8(12 + question.count)] + Array(option.dropFirst())
    var cases: [(String, DNSPacket)] = []
    func add(_ what: String, _ counts: [UInt16], _ body: [UInt8]) {
      cases.append((what, DNSPacket(counts: counts, body: body)))
    }
    add("no question", [0, 0, 0, 0], [])
    add("two questions", [2, 0, 0, 0], question + question)
    add("announces a question", [1, 0, 0, 0], [])
    add("65,535 questions", [65_535, 0, 0, 0], question)
    add("announces an answer", [1, 1, 0, 0], question)
    add("announces authorities", [1, 0, 65_535, 0], question)
    add("announces additionals", [1, 0, 0, 65_535], question + option)
    add("name without end", [1, 0, 0, 0], question.dropLast(5))
    add("question without class", [1, 0, 0, 0], question.dropLast(2))
    add("trailing byte", [1, 0, 0, 0], question + [0])
    add("label longer than the message", [1, 0, 0, 0], [63, 0x61, 0] + tail)
    add("label of type 01", [1, 0, 0, 0], [0x40, 0x61, 0] + tail)
    add("label of type 10", [1, 0, 0, 0], [0x80, 0x61, 0] + tail)
    add("name of 256 bytes", [1, 0, 0, 0], longName)
    add("pointer to itself", [1, 0, 0, 0], [0xc0, 12] + tail)
    add("pointer to its own name", [1, 0, 0, 0], [1, 0x61, 0xc0, 12] + tail)
    add("pointer into the header", [1, 0, 0, 0], [0xc0, 0] + tail)
    add("pointer forwards", [1, 0, 0, 0], [0xc0, 14, 0] + tail)
    add("pointer beyond the end", [1, 0, 0, 0], [0xff, 0xff] + tail)
    add("half a pointer", [1, 0, 0, 0], [0xc0])
    add("two OPT records", [1, 0, 0, 2], question + option + option)
    add("OPT with an owner", [1, 0, 0, 1], question + [1, 0x61] + option)
    add("OPT longer than the message", [1, 0, 0, 1], question + option.dropLast() + [9])
    add("record without fields", [1, 0, 0, 1], question + [0, 0, 41])
    add("record whose pointer is a loop", [1, 0, 0, 1], loop)
    return cases
  }()

  @Test(arguments: malformed.indices) func malformedQueries(_ index: Int) throws {
    let (what, packet) = Self.malformed[index]
    let answer = try #require(resolve(packet.bytes).answer, "\(what)")
    #expect(answer.code == 1, "\(what)")
    #expect(answer.id == 0x1234 && answer.question.isEmpty && answer.flags & 0x8000 != 0)
  }

  @Test func aHugeQueryIsAFormatError() {
    var packet = DNSPacket.query("reviews")
    packet.counts[3] = 1
    let padding = 4_096 - packet.bytes.count - 11
    packet.body += DNSPacket.option(payload: 512).dropLast(2) + [UInt8(padding >> 8), UInt8(padding & 0xff)]
    packet.body += [UInt8](repeating: 0, count: padding)
    #expect(packet.bytes.count == 4_096)
    #expect(resolve(packet.bytes).answer?.code == 0)
    packet.body.append(0)
    #expect(resolve(packet.bytes).answer?.code == 1)
    #expect(resolve([UInt8](repeating: 0, count: 65_535), transport: .tcp).answer?.code == 1)
  }

  @Test func theLongestName() {
    let label = [63] + [UInt8](repeating: 0x61, count: 63)
    let name = label + label + label + [61] + [UInt8](repeating: 0x61, count: 61) + [0]
    #expect(name.count == 255)
    #expect(resolve(DNSPacket(body: name + [0, 1, 0, 1]).bytes) == .forward)
    // The longest name that's ours: the answer with SOA and OPT still fits into 512 bytes.
    let ours: [UInt8] =
      label + label + label + [46] + [UInt8](repeating: 0x61, count: 46) + DNSPacket.name("cluster.local")
    #expect(ours.count == 254)
    let packet = DNSPacket(counts: [1, 0, 0, 1], body: ours + [0, 1, 0, 1] + DNSPacket.option(payload: 512))
    let answer = resolve(packet.bytes).answer
    #expect(answer?.code == 3 && answer?.isTruncated == false && answer?.authority.count == 1)
  }

  @Test func labelsWithDotsInsideAreNotSplit() {
    let body: [UInt8] = [12] + Array("reviews.shop".utf8) + DNSPacket.name("svc.cluster.local") + [0, 1, 0, 1]
    let answer = resolve(DNSPacket(body: body).bytes).answer
    #expect(answer?.addresses == [] && answer?.answers.isEmpty == true)
  }

  @Test func ednsIsEchoed() throws {
    var packet = DNSPacket.query("reviews")
    packet.counts[3] = 1
    packet.body += DNSPacket.option(payload: 1_232, flags: 0x80)
    let option = try #require(resolve(packet.bytes).answer?.additional.first)
    #expect(option.type == 41 && option.name.isEmpty)
    #expect(option.ttl == 0x8000, "DO is echoed (RFC 3225 §3)")
    packet.body = DNSPacket.query("reviews").body + DNSPacket.option(payload: 1_232, version: 1)
    let bad = try #require(resolve(packet.bytes).answer)
    #expect(bad.code == 0 && bad.additional.first?.ttl == 0x0100_0000, "BADVERS (RFC 6891 §6.1.3)")
  }
}
