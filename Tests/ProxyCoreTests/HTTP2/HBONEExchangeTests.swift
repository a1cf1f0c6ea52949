import NIOCore
import Testing

@testable import ProxyCore

/// A client and a server that speak with each other by bytes alone.
@Suite struct HBONEExchangeTests {
  let request = HBONERequest(authority: "10.0.0.1:80", client: "10.0.0.9:41000")

  private func joined() throws -> (client: HBONEPeer, server: HBONEPeer, stream: UInt32) {
    var client = HBONEPeer(.client)
    var server = HBONEPeer(.server)
    exchange(&client, &server)
    let stream = try #require(client.connection.open(request, into: &client.out))
    exchange(&client, &server)
    #expect(server.seen.contains(.request(stream, request)))
    server.connection.respond(200, stream: stream, into: &server.out)
    exchange(&client, &server)
    #expect(client.seen.contains(.response(stream, 200)))
    client.seen = []
    server.seen = []
    return (client, server, stream)
  }

  @Test func carriesDataBothWaysAndEnds() throws {
    var (client, server, stream) = try joined()
    #expect(client.send([1, 2, 3], on: stream) == 3)
    #expect(server.send([4, 5], on: stream) == 2)
    exchange(&client, &server)
    #expect(server.seen == [.data(stream, [1, 2, 3])])
    #expect(client.seen == [.data(stream, [4, 5])])
    client.connection.finish(stream, into: &client.out)
    exchange(&client, &server)
    #expect(server.seen.last == .ended(stream))
    #expect(server.connection.streamCount == 1)
    // The other half still carries.
    #expect(server.send([6], on: stream) == 1)
    server.connection.finish(stream, into: &server.out)
    exchange(&client, &server)
    #expect(client.seen.suffix(2) == [.data(stream, [4, 5, 6]), .ended(stream)])
    #expect(client.connection.streamCount == 0)
    #expect(server.connection.streamCount == 0)
  }

  @Test func serverMayEndFirst() throws {
    var (client, server, stream) = try joined()
    server.connection.finish(stream, into: &server.out)
    exchange(&client, &server)
    #expect(client.seen == [.ended(stream)])
    #expect(client.send([9], on: stream) == 1)
    client.connection.finish(stream, into: &client.out)
    exchange(&client, &server)
    #expect(server.seen == [.data(stream, [9]), .ended(stream)])
    #expect(client.connection.streamCount + server.connection.streamCount == 0)
  }

  @Test(arguments: [true, false]) func resetsReachTheOtherSide(fromClient: Bool) throws {
    var (client, server, stream) = try joined()
    if fromClient {
      client.connection.reset(stream, code: .cancel, into: &client.out)
    } else {
      server.connection.reset(stream, code: .connectError, into: &server.out)
    }
    exchange(&client, &server)
    #expect((fromClient ? server : client).seen == [.reset(stream, fromClient ? 8 : 10)])
    #expect(client.connection.streamCount + server.connection.streamCount == 0)
    // What is still on its way for a stream that is gone hurts nobody.
    #expect(client.send([1], on: stream) == 1)
    #expect(client.out.readableBytes == 0)
  }

  @Test func dataThatCrossesAResetIsPassedOver() throws {
    var (client, server, stream) = try joined()
    _ = client.send([1, 2, 3], on: stream)
    server.connection.reset(stream, code: .cancel, into: &server.out)
    exchange(&client, &server)
    #expect(client.error == nil && server.error == nil)
    #expect(server.seen == [])
  }

  @Test(arguments: [403, 405, 503]) func aRefusedRequestLeavesNothing(status: Int) throws {
    var client = HBONEPeer(.client)
    var server = HBONEPeer(.server)
    let stream = try #require(client.connection.open(request, into: &client.out))
    exchange(&client, &server)
    server.connection.respond(status, stream: stream, into: &server.out)
    exchange(&client, &server)
    #expect(client.seen.prefix(3).contains(.response(stream, status)))
    #expect(server.connection.streamCount == 0)
    #expect(client.connection.streamCount == 0)
  }

  @Test func answersOnlyOnce() throws {
    var (client, server, stream) = try joined()
    server.connection.respond(503, stream: stream, into: &server.out)
    #expect(server.out.readableBytes == 0)
    exchange(&client, &server)
    #expect(client.seen == [])
  }

  @Test func goAwayStopsNewStreamsAndLetsOldOnesFinish() throws {
    var (client, server, stream) = try joined()
    server.connection.goAway(.noError, into: &server.out)
    exchange(&client, &server)
    #expect(client.seen == [.goAway(stream, 0)])
    #expect(!client.connection.acceptsStreams)
    #expect(client.connection.open(request, into: &client.out) == nil)
    #expect(client.send([1], on: stream) == 1)
    client.connection.finish(stream, into: &client.out)
    server.connection.finish(stream, into: &server.out)
    exchange(&client, &server)
    #expect(server.seen == [.data(stream, [1]), .ended(stream)])
  }

  @Test func aStreamOpenedAcrossGoAwayIsRefused() throws {
    var (client, server, _) = try joined()
    let late = try #require(client.connection.open(request, into: &client.out))
    server.connection.goAway(.noError, into: &server.out)
    server.feed(client.takeOutput())
    exchange(&client, &server)
    #expect(server.seen == [])
    #expect(client.seen.contains(.reset(late, HTTP2ErrorCode.refusedStream.rawValue)))
  }

  @Test func theServerBoundsStreams() throws {
    var limits = HBONEConnection.Limits()
    limits.streams = 3
    var client = HBONEPeer(.client)
    var server = HBONEPeer(.server, limits: limits)
    exchange(&client, &server)
    let opened = (0..<5).compactMap { _ in client.connection.open(request, into: &client.out) }
    #expect(opened == [1, 3, 5])
    #expect(!client.connection.acceptsStreams)
    exchange(&client, &server)
    #expect(server.connection.streamCount == 3)
    client.connection.reset(3, code: .cancel, into: &client.out)
    #expect(client.connection.open(request, into: &client.out) == 7)
    exchange(&client, &server)
    #expect(server.connection.streamCount == 3)
    #expect(client.error == nil && server.error == nil)
  }

  @Test func aClientThatIgnoresTheBoundIsRefusedStreamByStream() {
    var limits = HBONEConnection.Limits()
    limits.streams = 2
    var server = HBONEPeer.greetedServer(limits: limits)
    for stream in [1, 3, 5, 7] as [UInt32] { server.feed(Wire.connect(stream)) }
    #expect(server.error == nil)
    #expect(server.connection.streamCount == 2)
    let refused = Wire.frames(server.takeOutput()).filter { $0.type == 3 }
    #expect(refused.map(\.stream) == [5, 7])
    #expect(refused.allSatisfy { $0.payload == Wire.word(7) })
  }

  @Test func aRequestMayComeWithItsEnd() {
    var server = HBONEPeer.greetedServer()
    server.feed(Wire.connect(1, flags: 5))
    #expect(server.seen == [.request(1, HBONERequest(authority: "10.0.0.1:80")), .ended(1)])
  }

  @Test func trailersEndAStream() {
    var server = HBONEPeer.greetedServer()
    server.feed(Wire.connect(1) + Wire.data([1], stream: 1) + Wire.connect(1, flags: 5, [("x", "y")]))
    #expect(server.error == nil)
    #expect(server.seen.suffix(2) == [.data(1, [1]), .ended(1)])
  }

  @Test func interimResponsesAreNotTheAnswer() throws {
    var client = HBONEPeer.greetedClient()
    let stream = try #require(client.connection.open(request, into: &client.out))
    client.feed(Wire.connect(stream, [(":status", "103")]) + Wire.connect(stream, [(":status", "200")]))
    #expect(client.seen == [.response(stream, 200)])
  }

  @Test func paddingReachesNoApplicationButCounts() {
    var limits = HBONEConnection.Limits()
    limits.streamWindow = 100
    var server = HBONEPeer.greetedServer(limits: limits)
    server.feed(Wire.connect(1))
    let padded = Wire.frame(0, flags: 8, stream: 1, [20] + [1, 2, 3] + Array(repeating: 0, count: 20))
    for _ in 0..<50 { server.feed(padded) }
    #expect(server.error == nil)
    #expect(server.data(on: 1).count == 150)
  }

  @Test func paddedHeadersWithPriority() {
    var server = HBONEPeer.greetedServer()
    let block = Wire.block(Wire.connectFields)
    let payload = [4] + [0, 0, 0, 0, 16] + block + [0, 0, 0, 0]
    server.feed(Wire.frame(1, flags: 0x2c, stream: 1, payload))
    #expect(server.seen == [.request(1, HBONERequest(authority: "10.0.0.1:80"))])
  }

  @Test func continuationsMakeOneRequest() {
    var server = HBONEPeer.greetedServer()
    let block = Wire.block(Wire.connectFields)
    server.feed(
      Wire.frame(1, stream: 1, Array(block[..<5])) + Wire.frame(9, stream: 1, Array(block[5..<9]))
        + Wire.frame(9, flags: 4, stream: 1, Array(block[9...])))
    #expect(server.seen == [.request(1, HBONERequest(authority: "10.0.0.1:80"))])
  }

  @Test(arguments: [
    (#"for="10.0.0.9:41000""#, "10.0.0.9:41000"), (#"for="[fd00::1]:9""#, "[fd00::1]:9"), ("for=10.0.0.9", "10.0.0.9"),
    (#"proto=https; For="10.0.0.9:1", for=other"#, "10.0.0.9:1"), ("by=x", ""), ("", ""), ("for=", ""), (";;=,;", ""),
  ]) func theClientsAddressIsRead(field: String, expected: String) {
    var server = HBONEPeer.greetedServer()
    server.feed(Wire.connect(1, Wire.connectFields + [("forwarded", field)]))
    #expect(server.seen == [.request(1, HBONERequest(authority: "10.0.0.1:80", client: expected))])
  }

  @Test func unknownFramesAndSettingsAreIgnored() {
    var server = HBONEPeer.greetedServer()
    server.feed(Wire.frame(0x42, flags: 0xff, stream: 3, [1, 2, 3]) + Wire.settings([(0x99, 7)]) + Wire.connect(1))
    #expect(server.error == nil)
    #expect(server.connection.streamCount == 1)
  }

  @Test func aPingIsAnswered() {
    var server = HBONEPeer.greetedServer()
    server.feed(Wire.ping())
    #expect(server.takeOutput() == Wire.ping(1))
    server.feed(Wire.ping(1))
    #expect(server.takeOutput() == [])
  }
}
