import NIOCore
import Testing

@testable import ProxyCore

/// Two state machines talk to each other.
@Suite struct HTTP2ExchangeTests {
  private func connected() -> (client: HTTP2Peer, server: HTTP2Peer) {
    var client = HTTP2Peer(.client)
    var server = HTTP2Peer(.server)
    exchange(&client, &server)
    client.forget()
    server.forget()
    return (client, server)
  }

  @Test(arguments: [[Int.max], [1], [2], [9], [10], [3, 1, 100]])
  func aGRPCCall(pieces: [Int]) throws {
    var (client, server) = connected()
    for round in 0..<4 {
      let lines = HTTP2Peer.post + ["content-type: application/grpc", "te: trailers", "x-round: \(round)"]
      let id = try client.opened(lines, end: false)
      #expect(id == UInt32(2 * round + 1))
      #expect(client.send([1, 2, 3], on: id, end: true) == 3)
      exchange(&client, &server, pieces: pieces)
      #expect(server.seen == [.headers(id, lines, end: false), .data(id, [1, 2, 3]), .ended(id)])
      server.respond(200, ["content-type: application/grpc"], on: id)
      #expect(server.send([4, 5], on: id) == 2)
      server.sendTrailers(["grpc-status: 0", "grpc-message: ok"], on: id)
      exchange(&client, &server, pieces: pieces)
      #expect(
        client.seen == [
          .headers(id, [":status: 200", "content-type: application/grpc"], end: false), .data(id, [4, 5]),
          .trailers(id, ["grpc-status: 0", "grpc-message: ok"]),
        ])
      #expect(client.connection.streamCount == 0 && server.connection.streamCount == 0)
      client.forget()
      server.forget()
    }
    #expect(client.error == nil && server.error == nil)
  }

  @Test func trailersOnly() throws {
    var (client, server) = connected()
    let id = try client.opened()
    exchange(&client, &server)
    #expect(server.seen == [.headers(id, HTTP2Peer.get, end: true)])
    server.respond(200, ["grpc-status: 5"], on: id, end: true)
    exchange(&client, &server)
    #expect(client.seen == [.headers(id, [":status: 200", "grpc-status: 5"], end: true)])
    #expect(client.connection.streamCount == 0 && server.connection.streamCount == 0)
  }

  @Test func requestTrailersAndStreamingBothWays() throws {
    var (client, server) = connected()
    let id = try client.opened(HTTP2Peer.post, end: false)
    exchange(&client, &server)
    server.respond(200, on: id)
    for part in 0..<5 as Range<UInt8> {
      #expect(client.send([part], on: id) == 1)
      exchange(&client, &server)
      #expect(server.send([part + 100], on: id) == 1)
      exchange(&client, &server)
    }
    client.sendTrailers(["x-sum: 10"], on: id)
    exchange(&client, &server)
    #expect(server.seen.last == .trailers(id, ["x-sum: 10"]))
    #expect(server.data(on: id) == [0, 1, 2, 3, 4])
    #expect(client.data(on: id) == [100, 101, 102, 103, 104])
    #expect(server.connection.isOpen(id))
    server.connection.finish(id, into: &server.out)
    exchange(&client, &server)
    #expect(client.seen.last == .ended(id))
    #expect(client.connection.streamCount == 0 && server.connection.streamCount == 0)
  }

  @Test func informationalHeads() throws {
    var (client, server) = connected()
    let id = try client.opened(HTTP2Peer.post + ["expect: 100-continue"], end: false)
    exchange(&client, &server)
    server.respond(100, on: id)
    server.respond(103, ["link: </a>"], on: id, end: true)
    server.respond(201, on: id, end: true)
    // Only one final head.
    server.respond(500, on: id)
    exchange(&client, &server)
    #expect(
      client.seen == [
        .headers(id, [":status: 100"], end: false), .headers(id, [":status: 103", "link: </a>"], end: false),
        .headers(id, [":status: 201"], end: true),
      ])
    // The answer came before the request's end.
    #expect(client.connection.isOpen(id))
    #expect(client.send([1], on: id, end: true) == 1)
    exchange(&client, &server)
    #expect(server.seen.suffix(2) == [.data(id, [1]), .ended(id)])
    #expect(client.connection.streamCount == 0 && server.connection.streamCount == 0)
  }

  @Test(arguments: [("HEAD", 200), ("GET", 304), ("GET", 204)])
  func headsWithALengthAndNoContent(method: String, status: Int) throws {
    var (client, server) = connected()
    let lines = [":method: \(method)"] + HTTP2Peer.get.dropFirst()
    for ending in 0..<2 {
      let id = try client.opened(lines)
      exchange(&client, &server)
      server.respond(status, ["content-length: 5"], on: id, end: ending == 0)
      if ending == 1 { server.connection.finish(id, into: &server.out) }
      exchange(&client, &server)
      let head = [":status: \(status)", "content-length: 5"]
      #expect(
        client.seen
          == (ending == 0 ? [.headers(id, head, end: true)] : [.headers(id, head, end: false), .ended(id)]))
      client.forget()
    }
    let id = try client.opened(lines)
    exchange(&client, &server)
    server.respond(status, on: id)
    #expect(server.send([1], on: id) == 1)
    exchange(&client, &server)
    #expect(client.seen.last == .reset(id, .protocolError))
  }

  @Test func aTunnelByCONNECT() throws {
    var (client, server) = connected()
    let id = try client.opened([":method: CONNECT", ":authority: a:443"], end: false)
    exchange(&client, &server)
    #expect(server.seen == [.headers(id, [":method: CONNECT", ":authority: a:443"], end: false)])
    // Content-Length means nothing in the answer (RFC 9110 §9.3.6).
    server.respond(200, ["content-length: 0"], on: id)
    #expect(server.send([1, 2], on: id) == 2)
    exchange(&client, &server)
    #expect(client.data(on: id) == [1, 2])
  }

  @Test func resetsReachTheOtherSide() throws {
    var (client, server) = connected()
    let first = try client.opened(end: false)
    let second = try client.opened(end: false)
    exchange(&client, &server)
    client.connection.reset(first, code: .cancel, into: &client.out)
    server.connection.reset(second, code: .refusedStream, into: &server.out)
    exchange(&client, &server)
    #expect(server.seen.last == .reset(first, .cancel))
    #expect(client.seen.last == .reset(second, .refusedStream))
    #expect(client.connection.streamCount == 0 && server.connection.streamCount == 0)
    // Of streams that are gone nothing is written.
    client.connection.reset(first, code: .cancel, into: &client.out)
    client.connection.finish(first, into: &client.out)
    client.connection.consumed(1 << 20, stream: first, into: &client.out)
    client.sendTrailers(["a: b"], on: first)
    #expect(client.send([1], on: first) == 1)
    server.respond(200, on: first)
    #expect(client.out.readableBytes == 0 && server.out.readableBytes == 0)
  }

  @Test func nothingIsSentOutOfTurn() throws {
    var (client, server) = connected()
    let id = try client.opened()
    exchange(&client, &server)
    // Before its head; after its end.
    #expect(server.send([1], on: id) == 1)
    server.sendTrailers(["a: b"], on: id)
    #expect(client.send([1], on: id) == 1)
    client.respond(200, on: id)
    #expect(server.open() == nil)
    #expect(client.out.readableBytes == 0 && server.out.readableBytes == 0)
  }

  @Test func headsOverAFrameAreContinued() throws {
    var (client, server) = connected()
    let long = (0..<10).map { "x-\($0): " + String(repeating: "v", count: 6000) }
    let id = try client.opened(HTTP2Peer.get + long)
    let sent = Wire.frames(Array(client.out.readableBytesView))
    // The server announced frames of 256 KiB: one is enough.
    #expect(sent.map(\.type) == [1] && sent.map(\.flags) == [5])
    exchange(&client, &server)
    #expect(server.seen == [.headers(id, HTTP2Peer.get + long, end: true)])
    var plain = HTTP2Peer.greeted(.client)
    let other = try plain.opened(HTTP2Peer.get + long, end: false)
    let frames = Wire.frames(Array(plain.out.readableBytesView))
    #expect(frames.map(\.type) == [1, 9, 9, 9])
    #expect(frames.map(\.flags) == [0, 0, 0, 4])
    #expect(frames.allSatisfy { $0.payload.count <= 16_384 && $0.stream == other })
    var receiver = HTTP2Peer.greeted(.server)
    receiver.feed(plain.takeOutput(), pieces: [1000])
    #expect(receiver.seen == [.headers(other, HTTP2Peer.get + long, end: false)])
  }

  @Test func aHeadTooLargeIsOnlyToBeRefused() throws {
    var server = HTTP2Peer.greeted(.server)
    var client = HTTP2Peer.greeted(.client)
    // 201 fields of few bytes.
    let id = try client.opened(HTTP2Peer.get + (0..<201).map { "x\($0): y" }, end: false)
    exchange(&client, &server)
    #expect(server.seen == [.oversized(id, end: false)])
    // What its answer may depend on is there.
    let head = server.connection.head
    #expect(head.text(head.method) == "GET" && head.fields.count <= 200)
    server.respond(431, on: id, end: true)
    server.connection.reset(id, code: .noError, into: &server.out)
    exchange(&client, &server)
    #expect(server.connection.streamCount == 0)
    #expect(client.seen == [.headers(id, [":status: 431"], end: true), .reset(id, .noError)])
    // The tables still agree.
    server.forget()
    let next = try client.opened(HTTP2Peer.get + ["x1: y", "x2: y"])
    exchange(&client, &server)
    #expect(server.seen == [.headers(next, HTTP2Peer.get + ["x1: y", "x2: y"], end: true)])
  }

  @Test func pingsForLiveness() {
    var (client, server) = connected()
    client.connection.ping(0x0102_0304_0506_0708, into: &client.out)
    exchange(&client, &server)
    #expect(client.seen == [.pong(0x0102_0304_0506_0708)])
    client.forget()
    // An answer to nothing is no sign of life.
    client.feed(Wire.ping(1))
    #expect(client.seen.isEmpty && client.error == nil)
  }

  @Test func streamsBecomeAvailable() throws {
    var limits = HTTP2Connection.Limits()
    limits.streams = 2
    var client = HTTP2Peer(.client)
    var server = HTTP2Peer(.server, limits: limits)
    exchange(&client, &server)
    let first = try client.opened()
    _ = try client.opened()
    #expect(!client.connection.acceptsStreams)
    #expect(client.open() == nil)
    exchange(&client, &server)
    server.respond(200, on: first, end: true)
    client.forget()
    exchange(&client, &server)
    #expect(client.seen == [.headers(first, [":status: 200"], end: true), .streamsAvailable])
    #expect(client.connection.acceptsStreams)
    // Told once.
    client.forget()
    client.feed(Wire.ping())
    #expect(client.seen.isEmpty)
    _ = try client.opened()
    #expect(client.open() == nil)
    client.feed(Wire.settings([(3, 10)]))
    #expect(client.seen == [.streamsAvailable])
  }

  /// Before the settings a client assumes what it may (RFC 9113 §6.5.2); afterwards what they say.
  @Test(arguments: [nil, 0, 50, 100, 150, UInt32.max]) func streamsBeforeTheSettings(bound: UInt32?) {
    var limits = HTTP2Connection.Limits()
    limits.streams = 200
    var client = HTTP2Peer(.client, limits: limits)
    for _ in 0..<100 { #expect(client.open() != nil) }
    // Whoever waits may ask `acceptsStreams` alone.
    #expect(!client.connection.acceptsStreams)
    client.feed(Wire.settings(bound.map { [(UInt16(3), $0)] } ?? []))
    let opened = min(bound.map(Int.init) ?? .max, 200)
    #expect(client.seen == (opened > 100 ? [.streamsAvailable] : []))
    var count = 100
    while client.open() != nil { count += 1 }
    #expect(count == max(100, opened))
    // Other settings leave it as it is.
    client.forget()
    client.feed(Wire.settings([(4, 70_000)]))
    #expect(!client.seen.contains(.streamsAvailable) && client.open() == nil)
    #expect(client.error == nil)
  }

  @Test func aClientOverTheBoundIsRefusedStreamByStream() {
    var limits = HTTP2Connection.Limits()
    limits.streams = 2
    var server = HTTP2Peer.greeted(.server, limits: limits)
    for id in [1, 3, 5, 7] as [UInt32] { server.feed(Wire.head(id, HTTP2Peer.get, end: false)) }
    #expect(server.seen == [.headers(1, HTTP2Peer.get, end: false), .headers(3, HTTP2Peer.get, end: false)])
    #expect(server.sentResets() == [5: .refusedStream, 7: .refusedStream])
    // Their bodies, on the way already, harm nothing.
    server.feed(Wire.data([1], stream: 5, end: true))
    #expect(server.error == nil && server.out.readableBytes == 0)
  }

  @Test func goingAwayFromTheServer() throws {
    var (client, server) = connected()
    let id = try client.opened(end: false)
    exchange(&client, &server)
    server.connection.announceGoAway(into: &server.out)
    let crossing = try client.opened()
    exchange(&client, &server)
    #expect(client.seen == [.goAway(0x7fff_ffff, .noError)])
    #expect(server.seen.contains(.headers(crossing, HTTP2Peer.get, end: true)))
    #expect(client.open() == nil && !client.connection.acceptsStreams)
    server.connection.goAway(.noError, into: &server.out)
    exchange(&client, &server)
    #expect(client.seen.last == .goAway(crossing, .noError))
    server.respond(200, on: id, end: true)
    server.respond(200, on: crossing, end: true)
    client.connection.finish(id, into: &client.out)
    exchange(&client, &server)
    #expect(client.connection.streamCount == 0 && server.connection.streamCount == 0)
    #expect(client.error == nil && server.error == nil)
  }

  @Test func streamsThatAGoAwayLeavesOutAreRefused() throws {
    var (client, server) = connected()
    let seen = try client.opened(end: false)
    exchange(&client, &server)
    server.connection.goAway(.noError, into: &server.out)
    let late = [try client.opened(end: false), try client.opened()]
    #expect(client.send([1], on: late[0], end: true) == 1)
    client.forget()
    exchange(&client, &server)
    #expect(client.seen.first == .goAway(seen, .noError))
    #expect(
      Set(client.seen.dropFirst().map { "\($0)" })
        == Set(late.map { "\(HTTP2Peer.Seen.reset($0, .refusedStream))" }))
    #expect(client.connection.streamCount == 1)
    // The server never shows them, and stays with what it said.
    #expect(server.seen.count == 1 && server.error == nil)
    server.connection.goAway(.noError, into: &server.out)
    #expect(Wire.frames(server.takeOutput())[0].payload.prefix(4) == [0, 0, 0, UInt8(seen)])
  }
}
