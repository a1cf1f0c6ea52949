import MeshModel
import Testing

@testable import ProxyCore

/// Seeded, so that a failure comes again.
@Suite struct DNSFuzzTests {
  static let seeds: [[UInt8]] = [
    DNSPacket.query("reviews.shop.svc.cluster.local").bytes,
    DNSPacket.query("db.shop.svc.cluster.local", 255, payload: 1_232).bytes,
    DNSPacket.query("_http._tcp.db.shop.svc.cluster.local", 33, payload: 4_096).bytes,
    DNSPacket.query("example.com.shop.svc.cluster.local", 28).bytes,
    DNSPacket.query("1.0.96.10.in-addr.arpa", 12).bytes,
    DNSPacket.query("www.example.org", payload: 512).bytes,
    DNSPacket(body: [1, 0x61, 0xc0, 12, 0, 1, 0, 1]).bytes,
    [],
  ]

  static func mutated(_ random: inout SeededRandom) -> [UInt8] {
    var bytes = seeds[Int.random(in: 0..<seeds.count, using: &random)]
    for _ in 0..<Int.random(in: 0...6, using: &random) {
      let index = bytes.isEmpty ? 0 : Int.random(in: 0..<bytes.count, using: &random)
      switch Int.random(in: 0..<7, using: &random) {
      case 0 where !bytes.isEmpty: bytes[index] = UInt8.random(in: 0...255, using: &random)
      case 1 where !bytes.isEmpty: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2 where !bytes.isEmpty: bytes.removeSubrange(index...)
      case 3 where !bytes.isEmpty: bytes.remove(at: index)
      case 4: bytes.insert(contentsOf: [0xc0, UInt8.random(in: 0...64, using: &random)], at: index)
      case 5 where bytes.count > 12: bytes[Int.random(in: 4..<12, using: &random)] = 1
      default:
        bytes += (0..<Int.random(in: 0..<40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      }
    }
    return bytes
  }

  @Test func resolverAnswersWithinBounds() throws {
    var random = SeededRandom(state: 20_261_124)
    var counts = (answers: 0, forwarded: 0, dropped: 0)
    for round in 0..<200_000 {
      let bytes = Self.mutated(&random)
      let transport: DNSTransport = round % 4 == 0 ? .tcp : .udp
      switch resolve(bytes, transport: transport, random: random.next()) {
      case .drop:
        counts.dropped += 1
        if bytes.count >= 12, bytes[2] & 0x80 == 0 { Issue.record("dropped a query: \(bytes)") }
      case .forward:
        counts.forwarded += 1
      case .answer(let answer):
        counts.answers += 1
        let limit = bytes.withUnsafeBytes { (try? DNSQuery($0))?.answerLimit(transport) ?? 512 }
        guard answer.count <= limit, let decoded = DNSAnswer(answer), decoded.flags & 0x8000 != 0 else {
          Issue.record("a bad answer to \(bytes): \(answer)")
          return
        }
      }
    }
    #expect(counts.answers > 1_000 && counts.forwarded > 1_000 && counts.dropped > 1_000, "\(counts)")
  }

  @Test func forwarderStaysWithinItsTable() {
    var random = SeededRandom(state: 3)
    var forwarder = DNSForwarder(random: SeededRandom(state: 4))
    let server = SocketAddress("10.96.0.10:53")!
    var sent: [[UInt8]] = []
    var now: NanoTime = 0
    for round in 0..<100_000 {
      now += UInt64.random(in: 0..<4_000_000, using: &random)
      let client: DNSClient = round % 5 == 0 ? .stream(UInt64(round % 50)) : .datagram(peer: server, local: server.ip)
      var actions = forwarder.query(Self.mutated(&random), from: client, server: server, now: now)
      if var reply = sent.randomElement(using: &random) {
        reply[2] |= 0x80
        if round % 3 == 0 { reply[Int.random(in: 0..<reply.count, using: &random)] ^= 4 }
        actions += forwarder.reply(reply, from: server, transport: round % 5 == 0 ? .tcp : .udp, now: now)
      }
      actions += forwarder.reply(Self.mutated(&random), from: server, transport: .udp, now: now)
      if round % 7 == 0 { actions += forwarder.tick(now: now) }
      if round % 1_001 == 0 { actions += forwarder.streamFailed(to: server) }
      for case .send(let bytes, _, _) in actions { sent.append(bytes) }
      if sent.count > 500 { sent.removeFirst(250) }
      guard forwarder.count <= DNSForwarder.capacity else {
        Issue.record("\(forwarder.count) queries are outstanding")
        return
      }
    }
    _ = forwarder.tick(now: now + .seconds(4))
    _ = forwarder.tick(now: now + .seconds(8))
    #expect(forwarder.count == 0)
  }

  @Test func framerSurvivesAnyStream() {
    var random = SeededRandom(state: 5)
    for _ in 0..<2_000 {
      var framer = DNSStreamFramer()
      for _ in 0..<20 {
        var bytes = Self.mutated(&random)
        if Bool.random(using: &random) { bytes = DNSStreamFramer.frame(bytes) ?? [] }
        do {
          try framer.append(bytes)
          while let message = try framer.next() {
            if message.count < 12 { Issue.record("a message of \(message.count) bytes") }
            if Bool.random(using: &random) { framer.finished() }
          }
        } catch {
          break
        }
      }
    }
  }
}
