import NIOCore
import Testing

@testable import ProxyCore

@Suite struct HBONEFlowControlTests {
  let request = HBONERequest(authority: "10.0.0.1:80")

  private func joined(
    client clientLimits: HBONEConnection.Limits = .init(), server serverLimits: HBONEConnection.Limits = .init(),
    streams: Int = 1
  ) throws -> (client: HBONEPeer, server: HBONEPeer, streams: [UInt32]) {
    var client = HBONEPeer(.client, limits: clientLimits)
    var server = HBONEPeer(.server, limits: serverLimits)
    exchange(&client, &server)
    let opened = (0..<streams).compactMap { _ in client.connection.open(request, into: &client.out) }
    exchange(&client, &server)
    for stream in opened { server.connection.respond(200, stream: stream, into: &server.out) }
    exchange(&client, &server)
    client.seen = []
    server.seen = []
    return (client, server, opened)
  }

  @Test func nothingIsSentBeyondTheStreamsWindow() throws {
    var limits = HBONEConnection.Limits()
    limits.streamWindow = 1000
    var (client, server, streams) = try joined(server: limits)
    #expect(client.send(Array(repeating: 1, count: 5000), on: streams[0]) == 1000)
    exchange(&client, &server, consume: false)
    #expect(client.send([1], on: streams[0]) == 0)
    #expect(client.seen == [])
    // Half of the window is given back at once, less is kept.
    server.connection.consumed(499, stream: streams[0], into: &server.out)
    #expect(server.out.readableBytes == 0)
    server.connection.consumed(1, stream: streams[0], into: &server.out)
    exchange(&client, &server, consume: false)
    #expect(client.seen == [.writable(streams[0])])
    #expect(client.send(Array(repeating: 2, count: 5000), on: streams[0]) == 500)
  }

  @Test func aStreamThatIsNotReadHoldsUpNoOther() throws {
    var limits = HBONEConnection.Limits()
    limits.streamWindow = 64 << 10
    limits.connectionWindow = 128 << 10
    var (client, server, streams) = try joined(server: limits, streams: 5)
    // Four streams are full and never read: together more than the connection's window.
    for stream in streams.prefix(4) {
      #expect(client.send(Array(repeating: 1, count: 64 << 10), on: stream) == 64 << 10)
      exchange(&client, &server, consume: false)
    }
    var sent = 0
    for _ in 0..<64 {
      sent += client.send(Array(repeating: 2, count: 16 << 10), on: streams[4])
      let bytes = client.takeOutput()
      server.feed(bytes, consume: false)
      server.connection.consumed(16 << 10, stream: streams[4], into: &server.out)
      client.feed(server.takeOutput())
    }
    #expect(sent == 1 << 20)
    #expect(client.error == nil && server.error == nil)
    #expect(streams.prefix(4).allSatisfy { server.data(on: $0).count == 64 << 10 })
    #expect(server.data(on: streams[4]).count == 1 << 20)
  }

  @Test func megabytesPassThroughSmallWindows() throws {
    var limits = HBONEConnection.Limits()
    limits.streamWindow = 3000
    limits.connectionWindow = 70_000
    var (client, server, streams) = try joined(client: limits, server: limits)
    let sent = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
    var upAt = 0
    var downAt = 0
    while upAt < sent.count || downAt < sent.count {
      let before = upAt + downAt
      upAt += client.send(Array(sent[upAt...].prefix(20_000)), on: streams[0])
      downAt += server.send(Array(sent[downAt...].prefix(20_000)), on: streams[0])
      exchange(&client, &server)
      try #require(upAt + downAt > before)
    }
    #expect(server.data(on: streams[0]) == sent)
    #expect(client.data(on: streams[0]) == sent)
  }

  @Test func theConnectionsWindowIsRespectedAndOpensForAll() throws {
    var client = HBONEPeer.greetedClient()
    let first = try #require(client.connection.open(request, into: &client.out))
    let second = try #require(client.connection.open(request, into: &client.out))
    // 65,535 bytes is all that a peer without a WINDOW_UPDATE takes (RFC 9113 §6.9.2).
    #expect(client.send(Array(repeating: 1, count: 70_000), on: first) == 65_535)
    client.feed(Wire.windowUpdate(first, 10_000))
    #expect(client.send([1], on: first) == 0)
    #expect(client.send([1], on: second) == 0)
    client.forget()
    client.feed(Wire.windowUpdate(0, 5))
    #expect(client.seen == [.connectionWritable])
    #expect(client.send([1, 2, 3], on: second) == 3)
    #expect(client.send([1, 2, 3], on: first) == 2)
  }

  /// RFC 9113 §4.2: a peer that announced nothing takes 16 KiB; one that takes a MiB gets 256 KiB.
  @Test(
    arguments: [
      (nil, 40_000, [16_384, 16_384, 7232]), (32_768, 40_000, [32_768, 7232]), (1 << 20, 300_000, [262_144, 37_856]),
    ] as [(UInt32?, Int, [Int])])
  func dataLeavesInFramesThatThePeerTakes(maximum: UInt32?, count: Int, expected: [Int]) throws {
    var client = HBONEPeer.greetedClient()
    client.feed(Wire.settings([(4, 1 << 20)]))
    if let maximum { client.feed(Wire.settings([(5, maximum)])) }
    client.feed(Wire.windowUpdate(0, 1 << 20))
    let stream = try #require(client.connection.open(request, into: &client.out))
    client.forget()
    _ = client.send(Array(repeating: 1, count: count), on: stream)
    #expect(Wire.frames(client.takeOutput()).map(\.payload.count) == expected)
  }

  @Test func aSmallerInitialWindowMayMakeWindowsNegative() throws {
    var client = HBONEPeer.greetedClient()
    let stream = try #require(client.connection.open(request, into: &client.out))
    #expect(client.send(Array(repeating: 1, count: 1000), on: stream) == 1000)
    client.feed(Wire.settings([(4, 400)]))
    client.forget()
    #expect(client.send([1], on: stream) == 0)
    // 1000 bytes were sent of 400: a credit of 600 brings the window to 0, the next byte opens it.
    client.feed(Wire.windowUpdate(stream, 600))
    #expect(client.send([1], on: stream) == 0)
    client.feed(Wire.windowUpdate(stream, 1))
    #expect(client.seen.last == .writable(stream))
    #expect(client.send([1, 2], on: stream) == 1)
  }

  @Test func aLargerInitialWindowWakesStreams() throws {
    var client = HBONEPeer.greetedClient()
    client.feed(Wire.settings([(4, 10)]) + Wire.windowUpdate(0, 100_000))
    let stream = try #require(client.connection.open(request, into: &client.out))
    #expect(client.send(Array(repeating: 1, count: 100), on: stream) == 10)
    client.forget()
    client.feed(Wire.settings([(4, 50)]))
    #expect(client.seen == [.connectionWritable])
    #expect(client.send(Array(repeating: 1, count: 100), on: stream) == 40)
    #expect(Wire.frames(client.takeOutput()).first?.flags == 1)
  }

  @Test func settingsAcknowledgeEachOther() throws {
    var client = HBONEPeer(.client)
    var server = HBONEPeer(.server)
    server.feed(client.takeOutput())
    let answer = Wire.frames(server.takeOutput())
    #expect(answer.contains { $0.type == 4 && $0.flags == 1 && $0.payload.isEmpty })
    #expect(answer.contains { $0.type == 4 && $0.flags == 0 })
  }

  @Test func aWindowOver2To31BreaksTheStreamOnly() throws {
    var client = HBONEPeer.greetedClient()
    let stream = try #require(client.connection.open(request, into: &client.out))
    client.forget()
    client.feed(Wire.windowUpdate(stream, 0x7fff_ffff))
    #expect(client.error == nil)
    #expect(client.seen == [.reset(stream, HTTP2ErrorCode.flowControlError.rawValue)])
    #expect(client.takeOutput() == Wire.reset(stream, 3))
  }

  @Test func aSettingThatLiftsAStreamsWindowOver2To31IsAnError() throws {
    var client = HBONEPeer.greetedClient()
    _ = try #require(client.connection.open(request, into: &client.out))
    client.feed(Wire.windowUpdate(1, 0x7fff_0000))
    client.feed(Wire.settings([(4, 0x7fff_ffff)]))
    #expect(client.error?.code == .flowControlError)
  }
}
