import NIOCore
import NIOHPACK
import Testing

@testable import ProxyCore

/// What a hostile or broken peer may send: each ends as an error of the stream or the connection.
@Suite struct HBONEBadInputTests {
  private func failure(after bytes: [UInt8]) -> HTTP2ErrorCode? {
    var server = HBONEPeer.greetedServer()
    server.feed(Wire.connect(1))
    server.feed(bytes)
    return server.error?.code
  }

  @Test(arguments: [
    Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8), Array("PRI * HTTP/1.1\r\n\r\n".utf8),
    // The start of a TLS ClientHello.
    [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], [0], Array(repeating: 0xff, count: 100),
    Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r".utf8),
  ])
  func garbageIsNoPreface(bytes: [UInt8]) {
    var server = HBONEPeer(.server)
    server.feed(bytes)
    #expect(server.error == HTTP2Error(code: .protocolError, reason: "not an HTTP/2 preface"))
  }

  @Test func theFirstFrameHasToBeSettings() {
    for frame in [Wire.ping(), Wire.connect(1), Wire.windowUpdate(0, 1), Wire.data([], stream: 1)] {
      var server = HBONEPeer(.server)
      server.feed(Wire.preface + frame)
      #expect(server.error?.code == .protocolError)
    }
  }

  @Test func framesThatLieAboutTheirLength() {
    #expect(failure(after: Wire.frame(0, stream: 1, Array(repeating: 0, count: 262_145))) == .frameSizeError)
    #expect(failure(after: Wire.frame(1, stream: 1, Array(repeating: 0, count: 16_385))) == .frameSizeError)
    #expect(failure(after: [0xff, 0xff, 0xff, 0x42, 0, 0, 0, 0, 0]) == .frameSizeError)
    #expect(failure(after: Wire.frame(6, Array(repeating: 0, count: 7))) == .frameSizeError)
    #expect(failure(after: Wire.frame(3, stream: 1, [0, 0, 0])) == .frameSizeError)
    #expect(failure(after: Wire.frame(3, stream: 1, Array(repeating: 0, count: 5))) == .frameSizeError)
    #expect(failure(after: Wire.frame(4, [0, 1, 0, 0, 0])) == .frameSizeError)
    #expect(failure(after: Wire.frame(4, flags: 1, Array(repeating: 0, count: 6))) == .frameSizeError)
    #expect(failure(after: Wire.frame(7, Array(repeating: 0, count: 7))) == .frameSizeError)
    #expect(failure(after: Wire.frame(8, [0, 0, 1])) == .frameSizeError)
    #expect(failure(after: Wire.frame(1, flags: 0x24, stream: 3, [0, 0, 0, 0])) == .frameSizeError)
  }

  @Test func paddingLongerThanItsFrame() {
    #expect(failure(after: Wire.frame(0, flags: 8, stream: 1, [5, 0, 0, 0, 0])) == .protocolError)
    #expect(failure(after: Wire.frame(0, flags: 8, stream: 1, [])) == .frameSizeError)
    #expect(failure(after: Wire.frame(1, flags: 0xc, stream: 3, [5, 0, 0, 0, 0])) == .protocolError)
    #expect(failure(after: Wire.frame(1, flags: 0xc, stream: 3, [])) == .protocolError)
  }

  @Test func dataWhereNoneMayBe() {
    #expect(failure(after: Wire.data([1], stream: 0)) == .protocolError)
    #expect(failure(after: Wire.data([1], stream: 3)) == .protocolError)
    #expect(failure(after: Wire.data([1], stream: 0x7fff_ffff)) == .protocolError)
    #expect(failure(after: Wire.connect(3) + Wire.data([1], stream: 2)) == .protocolError)
    #expect(failure(after: Wire.reset(3)) == .protocolError)
    #expect(failure(after: Wire.reset(2)) == .protocolError)
    #expect(failure(after: Wire.data([1], stream: 1, end: true) + Wire.data([1], stream: 1)) == .streamClosed)
    #expect(failure(after: Wire.data([1], stream: 1, end: true) + Wire.connect(1, flags: 5)) == .streamClosed)
    // On a stream that was reset it is merely late.
    #expect(failure(after: Wire.reset(1) + Wire.data([1], stream: 1)) == nil)
  }

  @Test func evenStreams() {
    #expect(failure(after: Wire.connect(4)) == .protocolError)
    #expect(failure(after: Wire.connect(0)) == .protocolError)
    var client = HBONEPeer.greetedClient()
    client.feed(Wire.connect(2, [(":status", "200")]))
    #expect(client.error?.code == .protocolError)
  }

  @Test func pushIsRefused() {
    #expect(
      failure(after: Wire.frame(5, flags: 4, stream: 1, [0, 0, 0, 2] + Wire.block(Wire.connectFields)))
        == .protocolError)
    var client = HBONEPeer.greetedClient()
    client.feed(Wire.frame(5, flags: 4, stream: 1, [0, 0, 0, 2]))
    #expect(client.error?.code == .protocolError)
  }

  @Test func aHeaderBlockIsNotInterrupted() {
    let open = Wire.frame(1, stream: 3, Wire.block([(":method", "CONNECT")]))
    #expect(failure(after: open + Wire.ping()) == .protocolError)
    #expect(failure(after: open + Wire.data([1], stream: 1)) == .protocolError)
    #expect(failure(after: open + Wire.connect(5)) == .protocolError)
    #expect(failure(after: open + Wire.frame(9, flags: 4, stream: 1)) == .protocolError)
    #expect(failure(after: open + Wire.frame(0x42)) == .protocolError)
    #expect(failure(after: Wire.frame(9, flags: 4, stream: 1)) == .protocolError)
  }

  @Test func continuationsAreBounded() {
    let open = Wire.frame(1, stream: 3, Wire.block([(":method", "CONNECT")]))
    #expect(
      failure(after: open + Array(repeating: Wire.frame(9, stream: 3), count: 100).flatMap { $0 }) == .enhanceYourCalm)
    let large = Wire.frame(9, stream: 3, Array(repeating: 0, count: 9000))
    #expect(failure(after: open + large + large) == .enhanceYourCalm)
  }

  @Test func brokenHeaderBlocks() {
    for block in [[0x80], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff], [0x40, 0x7f], [0x3f, 0xff, 0xff, 0x7f], [0xbe]]
      as [[UInt8]]
    {
      #expect(failure(after: Wire.frame(1, flags: 4, stream: 3, block)) == .compressionError)
    }
  }

  /// One long field in the dynamic table, and a block that names it thousands of times.
  @Test func aHeaderBombIsNotUnpacked() {
    let long = [0x40, 1, UInt8(ascii: "a"), 0x7f, 0xd1, 0x0e] + Array(repeating: UInt8(ascii: "b"), count: 2000)
    let fields = Wire.block(Wire.connectFields)
    #expect(
      failure(
        after: Wire.frame(1, flags: 4, stream: 3, fields + long)
          + Wire.frame(1, flags: 4, stream: 5, fields + Array(repeating: 0xbe, count: 8000))) == .compressionError)
  }

  @Test(arguments: [
    [(":authority", "a:1")], [(":method", "CONNECT"), (":method", "GET")],
    [(":method", "CONNECT"), (":authority", "a:1"), (":authority", "b:1")],
    [(":method", String(repeating: "M", count: 65))], [],
  ])
  func malformedRequestsAreResetAndOthersGoOn(fields: [(String, String)]) {
    var server = HBONEPeer.greetedServer()
    server.feed(Wire.connect(1, fields) + Wire.connect(3))
    #expect(server.error == nil)
    #expect(server.seen == [.request(3, HBONERequest(authority: "10.0.0.1:80"))])
    #expect(Wire.frames(server.takeOutput()).contains { $0.type == 3 && $0.stream == 1 && $0.payload == Wire.word(1) })
  }

  @Test(arguments: ["", "abc", "99", "600", "-200", "20O"]) func answersWithoutAStatus(status: String) {
    var client = HBONEPeer.greetedClient()
    _ = client.connection.open(HBONERequest(authority: "a:1"), into: &client.out)
    client.feed(Wire.connect(1, [(":status", status)]))
    #expect(client.error == nil)
    #expect(client.seen == [.reset(1, 1)])
  }

  @Test func aStreamsWindowIsEnforced() {
    var limits = HBONEConnection.Limits()
    limits.streamWindow = 1000
    var server = HBONEPeer.greetedServer(limits: limits)
    server.feed(Wire.connect(1) + Wire.data(Array(repeating: 0, count: 1000), stream: 1), consume: false)
    #expect(server.error == nil)
    server.feed(Wire.data([0], stream: 1), consume: false)
    #expect(server.error?.code == .flowControlError)
  }

  @Test func windowUpdatesThatAreNone() {
    #expect(failure(after: Wire.windowUpdate(0, 0)) == .protocolError)
    #expect(failure(after: Wire.windowUpdate(0, 0x7fff_ffff)) == .flowControlError)
    var server = HBONEPeer.greetedServer()
    server.feed(Wire.connect(1))
    server.forget()
    server.feed(Wire.windowUpdate(1, 0))
    #expect(server.error == nil)
    #expect(server.takeOutput() == Wire.reset(1, 1))
  }

  @Test func settingsOutOfBounds() {
    #expect(failure(after: Wire.settings([(4, 0x8000_0000)])) == .flowControlError)
    #expect(failure(after: Wire.settings([(5, 100)])) == .protocolError)
    #expect(failure(after: Wire.settings([(5, 0xffff_ffff)])) == .protocolError)
    #expect(failure(after: Wire.settings([(1, 0xffff_ffff), (3, 0), (6, 0)])) == nil)
  }

  @Test(arguments: [
    "ping", "settings", "empty data", "priority", "late reset", "late headers", "unknown", "idle window",
  ])
  func floods(of what: String) {
    let frame =
      switch what {
      case "ping": Wire.ping()
      case "settings": Wire.settings([])
      case "empty data": Wire.data([], stream: 1)
      case "priority": Wire.frame(2, stream: 1, [0, 0, 0, 0, 1])
      case "late reset": Wire.reset(1)
      case "late headers": Wire.connect(1)
      case "idle window": Wire.windowUpdate(3, 1)
      default: Wire.frame(0x42)
      }
    var server = HBONEPeer.greetedServer()
    server.feed(Wire.connect(1))
    if what.hasPrefix("late") { server.feed(Wire.reset(1)) }
    var count = 0
    while server.error == nil, count < 100_000 {
      server.feed(frame)
      server.forget()
      count += 1
    }
    #expect(server.error?.code == .enhanceYourCalm, "after \(count)")
    #expect(count <= 10_001)
  }

  private enum Ending: CaseIterable { case client, server, refused, cancelled, reset }

  /// What ordinary connections are made of doesn't use up what floods are measured by: neither streams that carry
  /// nothing, nor refused ones, nor those whose client leaves while the refusal is on its way.
  @Test(arguments: Ending.allCases) private func ordinaryStreamsCostNothing(ending: Ending) {
    var (client, server) = (HBONEPeer(.client), HBONEPeer(.server))
    exchange(&client, &server)
    for round in 0..<20_000 {
      guard let id = client.connection.open(HBONERequest(authority: "10.0.0.1:80"), into: &client.out) else {
        Issue.record("no stream in round \(round)")
        return
      }
      exchange(&client, &server)
      switch ending {
      case .client, .server:
        server.connection.respond(200, stream: id, into: &server.out)
        exchange(&client, &server)
        if ending == .client { client.connection.finish(id, into: &client.out) }
        if ending == .server { server.connection.finish(id, into: &server.out) }
        exchange(&client, &server)
        client.connection.finish(id, into: &client.out)
        server.connection.finish(id, into: &server.out)
      case .refused:
        server.connection.respond(503, stream: id, into: &server.out)
        let answer = server.takeOutput()
        client.feed(Array(answer.dropLast(13)))
        client.connection.reset(id, code: .cancel, into: &client.out)
        client.feed(Array(answer.suffix(13)))
      case .cancelled:
        // Both at once.
        server.connection.respond(503, stream: id, into: &server.out)
        client.connection.reset(id, code: .cancel, into: &client.out)
      case .reset:
        server.connection.respond(200, stream: id, into: &server.out)
        exchange(&client, &server)
        client.connection.reset(id, code: .cancel, into: &client.out)
      }
      exchange(&client, &server)
      guard client.error == nil, server.error == nil else {
        Issue.record(
          "round \(round): client \(String(describing: client.error)), server \(String(describing: server.error))")
        return
      }
      client.forget()
      server.forget()
    }
    #expect(client.connection.streamCount == 0 && server.connection.streamCount == 0)
    // And what is left of it is bounded.
    var count = 0
    while server.error == nil, count < 100_000 {
      server.feed(Wire.reset(1))
      server.forget()
      count += 1
    }
    #expect(server.error?.code == .enhanceYourCalm && count <= 20_001)
  }

  /// CVE-2023-44487.
  @Test func rapidReset() {
    var server = HBONEPeer.greetedServer()
    var stream: UInt32 = 1
    while server.error == nil, stream < 100_000 {
      server.feed(Wire.connect(stream) + Wire.reset(stream))
      server.forget()
      stream += 2
    }
    #expect(server.error?.code == .enhanceYourCalm)
    #expect(stream < 2100)
    #expect(server.connection.streamCount <= 1)
  }

  /// CVE-2025-8671: mistakes that have the server reset the stream.
  @Test(arguments: ["window", "trailers"]) func resetsThatThePeerBringsAbout(by mistake: String) {
    var server = HBONEPeer.greetedServer()
    var stream: UInt32 = 1
    while server.error == nil, stream < 100_000 {
      server.feed(Wire.connect(stream))
      server.feed(mistake == "window" ? Wire.windowUpdate(stream, 0) : Wire.connect(stream))
      server.forget()
      stream += 2
    }
    #expect(server.error?.code == .enhanceYourCalm)
    #expect(stream < 2100)
  }

  /// Streams beyond the bound cost the peer as much.
  @Test func refusedStreamsAreCounted() {
    var limits = HBONEConnection.Limits()
    limits.streams = 1
    var server = HBONEPeer.greetedServer(limits: limits)
    var stream: UInt32 = 1
    while server.error == nil, stream < 100_000 {
      server.feed(Wire.connect(stream))
      server.forget()
      stream += 2
    }
    #expect(server.error?.code == .enhanceYourCalm)
  }
}
