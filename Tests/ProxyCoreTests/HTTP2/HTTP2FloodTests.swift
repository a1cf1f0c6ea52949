import NIOCore
import Testing

@testable import ProxyCore

/// Peers that make work and no requests are cut off; peers that work are not.
@Suite struct HTTP2FloodTests {
  private func run(
    _ role: HTTP2Connection.Role = .server, rounds: Int = 20_000, _ frames: (UInt32) -> [UInt8]
  ) -> (rounds: Int, code: HTTP2ErrorCode?, out: Int) {
    var peer = HTTP2Peer.greeted(role)
    if role == .client { _ = peer.open(end: false) } else { peer.feed(Wire.head(1, HTTP2Peer.post)) }
    peer.forget()
    var out = 0
    for round in 0..<rounds {
      peer.feed(frames(UInt32(round)))
      out += peer.takeOutput().count
      if let error = peer.error { return (round, error.code, out) }
    }
    return (rounds, nil, out)
  }

  static let idle: [(String, [UInt8])] = [
    ("PING", Wire.ping()), ("PING answers", Wire.ping(1)), ("SETTINGS", Wire.settings([])),
    ("SETTINGS answers", Wire.frame(4, flags: 1)), ("PRIORITY", Wire.frame(2, stream: 1, [0, 0, 0, 0, 0])),
    ("empty DATA", Wire.data([], stream: 1)), ("WINDOW_UPDATE", Wire.windowUpdate(0, 1)),
    ("WINDOW_UPDATE of a stream", Wire.windowUpdate(1, 1)), ("unknown", Wire.frame(77, stream: 1)),
    ("GOAWAY", Wire.frame(7, Array(repeating: 0, count: 8))), ("RST_STREAM of one stream", Wire.reset(1)),
  ]

  @Test(arguments: idle) func framesThatCarryNothing(name: String, frame: [UInt8]) {
    let (rounds, code, out) = run { _ in frame }
    #expect(code == .enhanceYourCalm)
    #expect(9_000...10_001 ~= rounds)
    #expect(out < 400_000)
  }

  @Test func informationalHeadsFromAServer() {
    let (rounds, code, _) = run(.client) { _ in Wire.head(1, [":status: 100"]) }
    #expect(code == .enhanceYourCalm)
    #expect(rounds <= 10_000)
  }

  /// CVE-2023-44487.
  @Test func rapidReset() {
    let (rounds, code, _) = run { Wire.head(2 * $0 + 3, HTTP2Peer.get, end: true) + Wire.reset(2 * $0 + 3) }
    #expect(code == .enhanceYourCalm)
    #expect(rounds == 500)
  }

  @Test func requestsThatAreRefused() {
    let malformed = run { Wire.head(2 * $0 + 3, HTTP2Peer.get + ["Bad: x"], end: true) }
    #expect(malformed.code == .enhanceYourCalm && malformed.rounds == 500)
    // 99 more fit beside the first one.
    let tooMany = run { Wire.head(2 * $0 + 3, HTTP2Peer.get, end: true) }
    #expect(tooMany.code == .enhanceYourCalm && tooMany.rounds == 599)
    let tooLarge = run { round in
      Wire.head(2 * round + 3, HTTP2Peer.get + (0..<201).map { "x\($0): y" }, end: true)
    }
    #expect(tooLarge.code == .enhanceYourCalm && tooLarge.rounds == 500)
  }

  /// That they are answered makes them no better.
  @Test func headsTooLargeThatAreAnswered() {
    var server = HTTP2Peer.greeted(.server)
    var rounds: UInt32 = 0
    while server.error == nil, rounds < 2000 {
      let id = 2 * rounds + 1
      server.feed(Wire.head(id, HTTP2Peer.get + (0..<201).map { "x\($0): y" }, end: true))
      server.respond(431, on: id, end: true)
      server.forget()
      rounds += 1
    }
    #expect(server.error?.code == .enhanceYourCalm && rounds == 501)
  }

  /// Made to reset streams itself, a server counts just as well ("MadeYouReset", CVE-2025-8671).
  @Test func madeToReset() {
    let (rounds, code, _) = run { Wire.head(2 * $0 + 3, HTTP2Peer.post) + Wire.windowUpdate(2 * $0 + 3, 0) }
    #expect(code == .enhanceYourCalm)
    #expect(rounds == 500)
  }

  @Test func dataOfAStreamThatIsGone() {
    let (_, code, _) = run { $0 == 0 ? Wire.reset(1) : Wire.data([1], stream: 1) }
    #expect(code == .enhanceYourCalm)
  }

  @Test func continuationsWithoutEnd() {
    let empty = run { $0 == 0 ? Wire.frame(1, stream: 3) : Wire.frame(9, stream: 3) }
    #expect(empty.code == .enhanceYourCalm && empty.rounds == 17)
    let full = run {
      Wire.frame($0 == 0 ? 1 : 9, stream: 3, Array(repeating: 0x82, count: 16_384))
    }
    #expect(full.code == .enhanceYourCalm && full.rounds == 4)
    var limits = HTTP2Connection.Limits()
    limits.headerBlock = 1000
    var server = HTTP2Peer.greeted(.server, limits: limits)
    server.feed(Wire.frame(1, flags: 4, stream: 1, Array(repeating: 0x82, count: 1001)))
    #expect(server.error?.code == .enhanceYourCalm)
  }

  /// Answered requests, cancelled ones among them, go on for as long as they like.
  @Test func honestTrafficEarnsItsFrames() {
    var server = HTTP2Peer.greeted(.server)
    for round in 0..<4000 as Range<UInt32> {
      let id = 2 * round + 1
      server.feed(Wire.head(id, HTTP2Peer.post) + Wire.data([1], stream: id))
      server.respond(200, on: id)
      _ = server.send([1, 2, 3], on: id)
      // Updates of both windows, a ping for each answer, and the client loses interest in every second answer.
      server.feed(Wire.windowUpdate(0, 3) + Wire.windowUpdate(id, 3) + Wire.ping())
      if round % 2 == 0 {
        server.feed(Wire.reset(id))
      } else {
        server.connection.finish(id, into: &server.out)
        server.feed(Wire.data([], stream: id, end: true))
      }
      server.forget()
      if let error = server.error {
        Issue.record("round \(round): \(error)")
        return
      }
    }
    #expect(server.connection.streamCount == 0)
  }

  /// A download whose receiver gives the window back a KiB at a time.
  @Test func smallWindowUpdatesOfABigDownload() {
    var server = HTTP2Peer.greeted(.server)
    server.feed(Wire.head(1, HTTP2Peer.get, end: true))
    server.respond(200, on: 1)
    let chunk = [UInt8](repeating: 1, count: 32 << 10)
    for _ in 0..<600 {
      #expect(server.send(chunk, on: 1) == chunk.count)
      server.out.clear()
      for _ in 0..<16 { server.feed(Wire.windowUpdate(1, 2048) + Wire.windowUpdate(0, 2048)) }
    }
    #expect(server.error == nil)
  }
}
