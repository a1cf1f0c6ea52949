import NIOCore
import Testing

@testable import ProxyCore

/// Properties over inputs made by chance, from fixed seeds.
@Suite struct HBONEFuzzTests {
  /// A conversation with a bit of everything that a client may send.
  private static func conversation(_ random: inout SeededRandom) -> [UInt8] {
    var bytes = Wire.greeting
    var stream: UInt32 = 1
    for _ in 0..<Int.random(in: 5...40, using: &random) {
      let known = UInt32.random(in: 0..<max(1, stream / 2), using: &random) * 2 + 1
      switch Int.random(in: 0..<10, using: &random) {
      case 0, 1, 2:
        bytes += Wire.connect(stream)
        stream += 2
      case 3: bytes += Wire.ping()
      case 4: bytes += Wire.settings([(4, UInt32.random(in: 0...100_000, using: &random))])
      case 5: bytes += Wire.windowUpdate(0, UInt32.random(in: 1...1000, using: &random))
      case 6: bytes += Wire.reset(known)
      case 7:
        let fields = Wire.block(Wire.connectFields)
        let cut = Int.random(in: 0...fields.count, using: &random)
        bytes +=
          Wire.frame(1, stream: stream, Array(fields[..<cut]))
          + Wire.frame(9, flags: 4, stream: stream, Array(fields[cut...]))
        stream += 2
      case 8:
        let padding = Int.random(in: 0...50, using: &random)
        bytes += Wire.frame(
          0, flags: 8, stream: max(1, known), [UInt8(padding)] + [1, 2, 3] + Array(repeating: 0, count: padding))
      default:
        let count = Int.random(in: 0...3000, using: &random)
        bytes += Wire.data((0..<count).map { UInt8(truncatingIfNeeded: $0) }, stream: known)
      }
    }
    return bytes
  }

  private static func run(_ bytes: [UInt8], pieces: [Int]) -> (seen: [Seen], out: [UInt8], error: HTTP2Error?) {
    var server = HBONEPeer(.server)
    server.feed(bytes, pieces: pieces)
    return (server.seen, server.takeOutput(), server.error)
  }

  @Test(arguments: 0..<40 as Range<UInt64>) func everyCutGivesTheSameEvents(seed: UInt64) {
    var random = SeededRandom(state: seed)
    let bytes = Self.conversation(&random)
    let whole = Self.run(bytes, pieces: [Int.max])
    let cuts: [[Int]] =
      [[1], [2], [9], [10]]
      + (0..<6).map { _ in (0..<bytes.count).map { _ in Int.random(in: 1...64, using: &random) } }
    for pieces in cuts {
      let cut = Self.run(bytes, pieces: pieces)
      #expect(cut.seen == whole.seen)
      #expect(cut.error == whole.error)
      #expect(Wire.frames(cut.out).map(\.type) == Wire.frames(whole.out).map(\.type))
    }
  }

  /// 100,000 damaged conversations: any outcome but a crash, and no more streams, memory or output than allowed.
  @Test(arguments: 0..<20 as Range<UInt64>) func damagedInputNeverCrashes(seed: UInt64) {
    var random = SeededRandom(state: seed &+ 1000)
    var limits = HBONEConnection.Limits()
    limits.streams = 8
    var conversation = Self.conversation(&random)
    for round in 0..<5000 {
      if round % 50 == 0 { conversation = Array(Self.conversation(&random).prefix(1500)) }
      let bytes = conversation.damaged(behind: 24, using: &random)
      var server = HBONEPeer(.server, limits: limits)
      let piece = Int.random(in: 1...2000, using: &random)
      server.feed(bytes, pieces: [piece], consume: false)
      if server.connection.streamCount > 8 || server.out.readableBytes > 4 * bytes.count + 200 {
        Issue.record(
          "seed \(seed), round \(round): \(server.connection.streamCount) streams, \(server.out.readableBytes) bytes")
        return
      }
    }
  }

  @Test(arguments: 0..<5 as Range<UInt64>) func aClientSurvivesRandomFrames(seed: UInt64) {
    var random = SeededRandom(state: seed &+ 9000)
    for _ in 0..<2000 {
      var client = HBONEPeer.greetedClient()
      for _ in 0..<4 { _ = client.connection.open(HBONERequest(authority: "a:1"), into: &client.out) }
      var bytes: [UInt8] = []
      for _ in 0..<Int.random(in: 1...12, using: &random) {
        let payload = (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random)
        }
        bytes += Wire.frame(
          UInt8.random(in: 0...10, using: &random), flags: UInt8.random(in: 0...255, using: &random),
          stream: UInt32.random(in: 0...8, using: &random), payload)
      }
      client.feed(bytes, pieces: [Int.random(in: 1...100, using: &random)])
      _ = client.send([1, 2, 3], on: 1)
      client.connection.finish(3, into: &client.out)
      if client.connection.streamCount > 4 { Issue.record("more streams than were opened") }
    }
  }
}
