import NIOCore
import Testing

@testable import ProxyCore

/// Properties over inputs made by chance, from fixed seeds.
@Suite struct HTTP2FuzzTests {
  /// A bit of everything that a client may send.
  private static func conversation(_ random: inout SeededRandom) -> [UInt8] {
    var bytes = Wire.greeting
    var stream: UInt32 = 1
    for _ in 0..<Int.random(in: 5...40, using: &random) {
      let known = UInt32.random(in: 0..<max(1, stream / 2), using: &random) * 2 + 1
      switch Int.random(in: 0..<10, using: &random) {
      case 0, 1, 2:
        bytes += Wire.head(stream, HTTP2Peer.post + ["x: \(stream)"], end: Bool.random(using: &random))
        stream += 2
      case 3: bytes += Wire.ping()
      case 4: bytes += Wire.settings([(4, UInt32.random(in: 0...100_000, using: &random))])
      case 5: bytes += Wire.windowUpdate(0, UInt32.random(in: 1...1000, using: &random))
      case 6: bytes += Wire.reset(known)
      case 7:
        let fields = Wire.block(HTTP2Peer.get.map(HTTP2Peer.pair))
        let cut = Int.random(in: 0...fields.count, using: &random)
        bytes +=
          Wire.frame(1, stream: stream, Array(fields[..<cut]))
          + Wire.frame(9, flags: 4, stream: stream, Array(fields[cut...]))
        stream += 2
      case 8: bytes += Wire.head(known, ["trailer: x"], end: true)
      default:
        let count = Int.random(in: 0...3000, using: &random)
        bytes += Wire.data((0..<count).map { UInt8(truncatingIfNeeded: $0) }, stream: known)
      }
    }
    return bytes
  }

  private static func run(_ bytes: [UInt8], pieces: [Int]) -> (seen: [HTTP2Peer.Seen], out: [UInt8], error: HTTP2Error?)
  {
    var server = HTTP2Peer(.server)
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
      #expect(cut.out == whole.out)
    }
  }

  /// Any outcome but a crash, and no more streams or output than allowed.
  @Test(arguments: 0..<20 as Range<UInt64>) func damagedInputNeverCrashes(seed: UInt64) {
    var random = SeededRandom(state: seed &+ 1000)
    var limits = HTTP2Connection.Limits()
    limits.streams = 8
    var conversation = Self.conversation(&random)
    for round in 0..<1000 {
      if round % 50 == 0 { conversation = Array(Self.conversation(&random).prefix(1500)) }
      let bytes = conversation.damaged(behind: 24, using: &random)
      var server = HTTP2Peer(.server, limits: limits)
      server.feed(bytes, pieces: [Int.random(in: 1...2000, using: &random)], consume: false)
      if server.connection.streamCount > 8 || server.out.readableBytes > 4 * bytes.count + 200 {
        Issue.record(
          "seed \(seed), round \(round): \(server.connection.streamCount) streams, \(server.out.readableBytes) bytes")
        return
      }
    }
  }

  @Test(arguments: 0..<5 as Range<UInt64>) func aClientSurvivesRandomFrames(seed: UInt64) {
    var random = SeededRandom(state: seed &+ 9000)
    for _ in 0..<1000 {
      var client = HTTP2Peer.greeted(.client)
      for _ in 0..<4 { _ = client.open(end: false) }
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

  /// The table of streams against a dictionary.
  @Test func streamsComeAndGo() {
    var random = SeededRandom(state: 4)
    var table = StreamTable()
    var model: [UInt32: Int] = [:]
    var next: UInt32 = 1
    for _ in 0..<50_000 {
      if model.isEmpty || Int.random(in: 0..<100, using: &random) < (model.count < 60 ? 60 : 40) {
        let window = Int.random(in: 0...1000, using: &random)
        table.insert(StreamTable.Stream(id: next, sendWindow: window))
        model[next] = window
        next += 2 * UInt32.random(in: 1...20, using: &random)
      } else {
        let id = model.keys.min()!
        let victim = Bool.random(using: &random) ? id : model.keys.max()!
        table.remove(at: table.index(of: victim)!)
        model[victim] = nil
        #expect(table.index(of: victim) == nil)
      }
      #expect(table.count == model.count)
    }
    for (id, window) in model { #expect(table.index(of: id).map { table[$0].sendWindow } == window) }
  }
}
