import MeshModel
import Testing

@testable import ProxyCore

@Suite struct DNSForwarderTests {
  let server = SocketAddress("10.96.0.10:53")!
  let client = DNSClient.datagram(peer: SocketAddress("127.0.0.1:40000")!, local: IPAddress("127.0.53.1")!)
  let query = DNSPacket.query("Example.org")

  func forwarder() -> DNSForwarder { DNSForwarder(random: SeededRandom(state: 7)) }

  /// What the server would say to the message.
  func answer(to message: [UInt8], bytes: Int = 0) -> [UInt8] {
    var answer = message
    answer[2] |= 0x80
    return answer + [UInt8](repeating: 0, count: bytes)
  }

  func lastSent(_ actions: [DNSForwarder.Action]) -> [UInt8]? {
    if case .send(let bytes, _, _)? = actions.last { bytes } else { nil }
  }

  @Test func carriesAQueryAndItsAnswer() throws {
    var forwarder = forwarder()
    let actions = forwarder.query(query.bytes, from: client, server: server, now: 0)
    let sent = try #require(lastSent(actions))
    #expect(actions == [.send(sent, to: server, transport: .udp)])
    #expect(Array(sent.dropFirst(2)) == Array(query.bytes.dropFirst(2)))
    #expect(Array(sent.prefix(2)) != [0x12, 0x34])
    #expect(forwarder.count == 1 && forwarder.nextDeadline == .seconds(2))
    // Servers may change the name's case.
    var reply = answer(to: sent, bytes: 20)
    reply[13] |= 0x20
    let back = forwarder.reply(reply, from: server, transport: .udp, now: 1)
    #expect(back == [.reply([0x12, 0x34] + reply.dropFirst(2), to: client)])
    #expect(forwarder.count == 0 && forwarder.nextDeadline == nil)
    #expect(forwarder.reply(reply, from: server, transport: .udp, now: 2).isEmpty, "only once")
  }

  @Test func ignoresWhatWasNotAsked() throws {
    var forwarder = forwarder()
    let sent = try #require(lastSent(forwarder.query(query.bytes, from: client, server: server, now: 0)))
    let good = answer(to: sent)
    func changed(_ offset: Int, _ bits: UInt8 = 1) -> [UInt8] {
      var bytes = good
      bytes[offset] ^= bits
      return bytes
    }
    let wrong: [(String, [UInt8])] = [
      ("id", changed(0)), ("query", changed(2, 0x80)), ("opcode", changed(2, 0x08)), ("no question", changed(5)),
      ("two questions", changed(5, 3)), ("name", changed(14)), ("type", changed(good.count - 3)),
      ("class", changed(good.count - 1, 0x20)), ("cut", good.dropLast()), ("header cut", Array(good.prefix(11))),
      ("empty", []), ("huge", answer(to: sent, bytes: 65_536)),
    ]
    for (what, bytes) in wrong {
      #expect(forwarder.reply(bytes, from: server, transport: .udp, now: 1).isEmpty, "\(what)")
    }
    let strangers = [SocketAddress("10.96.0.11:53")!, SocketAddress("10.96.0.10:54")!]
    for stranger in strangers { #expect(forwarder.reply(good, from: stranger, transport: .udp, now: 1).isEmpty) }
    #expect(forwarder.reply(good, from: server, transport: .tcp, now: 1).isEmpty)
    #expect(forwarder.reply(good, from: server, transport: .udp, now: 1).count == 1, "still outstanding")
  }

  @Test func acceptsAHeaderThatSaysFormatError() throws {
    var forwarder = forwarder()
    let sent = try #require(lastSent(forwarder.query(query.bytes, from: client, server: server, now: 0)))
    let header: [UInt8] = [sent[0], sent[1], 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]
    var forged = header
    forged[3] = 0x83
    #expect(forwarder.reply(forged, from: server, transport: .udp, now: 1).isEmpty)
    #expect(forwarder.reply(header, from: server, transport: .udp, now: 1).count == 1)
  }

  @Test func sendsTwiceThenFails() throws {
    var forwarder = forwarder()
    let first = forwarder.query(query.bytes, from: client, server: server, now: 100)
    #expect(forwarder.tick(now: .seconds(2)).isEmpty)
    #expect(forwarder.tick(now: 100 + .seconds(2)) == first)
    #expect(forwarder.nextDeadline == 100 + .seconds(4))
    let failed = forwarder.tick(now: 100 + .seconds(4))
    guard case .reply(let bytes, client)? = failed.first, failed.count == 1 else {
      Issue.record("\(failed)")
      return
    }
    let answer = try #require(DNSAnswer(bytes))
    #expect(answer.code == 2 && answer.id == 0x1234 && answer.question == query.body)
    #expect(forwarder.count == 0 && forwarder.nextDeadline == nil)
  }

  @Test func streamsAreNotRetried() throws {
    var forwarder = forwarder()
    let stream = DNSClient.stream(9)
    let actions = forwarder.query(query.bytes, from: stream, server: server, now: 0)
    #expect(actions == [.send(try #require(lastSent(actions)), to: server, transport: .tcp)])
    // A UDP query that came later falls due earlier.
    _ = forwarder.query(query.bytes, from: client, server: server, now: 1)
    #expect(forwarder.nextDeadline == 1 + .seconds(2))
    #expect(forwarder.tick(now: .seconds(3)).count == 1)
    #expect(forwarder.nextDeadline == .seconds(4))
    guard case .reply(_, stream)? = forwarder.tick(now: .seconds(4)).first else {
      Issue.record("no answer to the stream")
      return
    }
    #expect(forwarder.count == 1)
  }

  @Test func aFailedStreamFailsItsQueriesOnly() {
    var forwarder = forwarder()
    let other = SocketAddress("10.96.0.11:53")!
    _ = forwarder.query(query.bytes, from: .stream(1), server: server, now: 0)
    _ = forwarder.query(query.bytes, from: .stream(1), server: other, now: 0)
    _ = forwarder.query(query.bytes, from: client, server: server, now: 0)
    #expect(forwarder.streamFailed(to: server).count == 1)
    #expect(forwarder.count == 2)
    forwarder.clientGone(.stream(1))
    #expect(forwarder.count == 1)
  }

  @Test func theTableIsBounded() throws {
    var forwarder = forwarder()
    var ids: Set<[UInt8]> = []
    for index in 0..<DNSForwarder.capacity {
      let actions = forwarder.query(query.bytes, from: .stream(UInt64(index)), server: server, now: NanoTime(index))
      #expect(actions.count == 1)
      ids.insert(Array(try #require(lastSent(actions)).prefix(2)))
    }
    #expect(ids.count == DNSForwarder.capacity, "ids of outstanding queries differ")
    let actions = forwarder.query(query.bytes, from: .stream(5_000), server: server, now: 2_000)
    #expect(actions.count == 2 && forwarder.count == DNSForwarder.capacity)
    guard case .reply(let bytes, .stream(0))? = actions.first else {
      Issue.record("the oldest didn't make room")
      return
    }
    #expect(DNSAnswer(bytes)?.code == 2)
    #expect(forwarder.tick(now: .seconds(60)).count == DNSForwarder.capacity)
    #expect(forwarder.count == 0)
  }

  @Test func passesTruncationOnAndKeepsToTheClientsSize() throws {
    var forwarder = forwarder()
    let sent = try #require(lastSent(forwarder.query(query.bytes, from: client, server: server, now: 0)))
    var short = answer(to: sent)
    short[2] |= 0x02
    guard case .reply(let bytes, _)? = forwarder.reply(short, from: server, transport: .udp, now: 1).first else {
      Issue.record("no answer")
      return
    }
    #expect(DNSAnswer(bytes)?.isTruncated == true)

    let again = try #require(lastSent(forwarder.query(query.bytes, from: client, server: server, now: 0)))
    let long = answer(to: again, bytes: 600)
    guard case .reply(let cut, _)? = forwarder.reply(long, from: server, transport: .udp, now: 1).first else {
      Issue.record("no answer")
      return
    }
    let answer = try #require(DNSAnswer(cut))
    #expect(answer.isTruncated && answer.question == query.body && answer.id == 0x1234)
  }

  @Test(arguments: [(UInt16.max, UInt16(4_096)), (1_232, 1_232), (100, 100)])
  func serversAreNotInvitedToSendMoreThanIsReceived(_ asked: UInt16, _ told: UInt16) throws {
    var forwarder = forwarder()
    let query = DNSPacket.query("example.org", payload: asked)
    let sent = try #require(lastSent(forwarder.query(query.bytes, from: client, server: server, now: 0)))
    #expect(Array(sent.dropFirst(2)) == Array(DNSPacket.query("example.org", payload: told).bytes.dropFirst(2)))
  }

  @Test func unreadableQueriesAreAnswered() {
    var forwarder = forwarder()
    var packet = query
    packet.counts[0] = 2
    guard case .reply(let bytes, client)? = forwarder.query(packet.bytes, from: client, server: server, now: 0).first
    else {
      Issue.record("no answer")
      return
    }
    #expect(DNSAnswer(bytes)?.code == 1)
    #expect(forwarder.query([1, 2, 3], from: client, server: server, now: 0).isEmpty)
    #expect(forwarder.count == 0)
  }
}
