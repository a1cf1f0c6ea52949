import Testing

@testable import ProxyCore

@Suite struct ClientHelloReaderTests {
  private func verdict(_ bytes: [UInt8]) -> SniffedProtocol? { bytes.withUnsafeBytes(ProtocolSniffer.verdict) }

  @Test(arguments: [1, 2, 5, 100, 1 << 14])
  func theNameAndTheProtocols(_ size: Int) {
    let hello = ClientHelloBytes(serverName: "Shop.Example.COM.", alpn: ["h2", "http/1.1"])
    #expect(verdict(hello.records(of: size)) == .tls(serverName: "shop.example.com", alpn: ["h2", "http/1.1"]))
    #expect(
      verdict(hello.records(of: size) + [0x17, 1, 2]) == .tls(serverName: "shop.example.com", alpn: ["h2", "http/1.1"]))
  }

  @Test func withoutANameAndWithoutExtensions() {
    #expect(verdict(ClientHelloBytes().records()) == .tls(serverName: nil, alpn: []))
    #expect(
      verdict(ClientHelloBytes.records(ClientHelloBytes().message(extensions: []))) == .tls(serverName: nil, alpn: []))
  }

  @Test func eachPrefixAsksForMore() {
    let bytes = ClientHelloBytes(serverName: "a.example").records(of: 40)
    for count in 0..<bytes.count { #expect(verdict(Array(bytes.prefix(count))) == nil) }
  }

  @Test func aHelloOfUpTo16KiB() {
    var hello = ClientHelloBytes(serverName: "a.example")
    hello.others = [(0x15, Array(repeating: 0, count: 15_000))]
    #expect(verdict(hello.records(of: 4000)) == .tls(serverName: "a.example", alpn: []))
    hello.others = [(0x15, Array(repeating: 0, count: 17_000))]
    #expect(verdict(hello.records(of: 4000)) == .opaque)
    #expect(verdict([0x16, 3, 1, 0, 4, 1, 0, 0x40, 0]) == .opaque)
  }

  static let malformed: [[UInt8]] = [
    [0x16, 2], [0x16, 3, 1, 0, 0], [0x16, 3, 1, 0xFF, 0xFF], [0x16, 3, 1, 0, 1, 2], [0x16, 3, 1, 0, 4, 1, 0, 0, 0],
    ClientHelloBytes.records(ClientHelloBytes().message(extensions: [0])),
    ClientHelloBytes.records(ClientHelloBytes().message(extensions: [0, 9, 0, 0])),
    ClientHelloBytes.records(ClientHelloBytes().message(extensions: [0, 0, 1])),
    // A name twice, an empty one, a list that is too short, one with a space.
    ClientHelloBytes(serverName: "a", others: [(0, [0, 4, 0, 0, 1, 65])]).records(),
    ClientHelloBytes(serverName: "").records(),
    ClientHelloBytes(others: [(0, [0, 9, 0, 0, 1, 65])]).records(),
    ClientHelloBytes(others: [(0, [0, 0])]).records(),
    ClientHelloBytes(serverName: "a b").records(),
    ClientHelloBytes(serverName: "a\0b").records(),
    ClientHelloBytes(serverName: String(repeating: "a", count: 256)).records(),
    ClientHelloBytes(others: [(16, [0, 1, 0])]).records(),
    ClientHelloBytes(others: [(16, [0, 2, 5, 65])]).records(),
    // Another record between the two of a message.
    Array(ClientHelloBytes(serverName: "a").records(of: 60).prefix(65)) + [0x17, 3, 3, 0, 1, 0],
  ]

  @Test(arguments: malformed)
  func malformedOnesAreOpaque(_ bytes: [UInt8]) { #expect(verdict(bytes) == .opaque) }

  @Test func changedBytesNeverCrashAndGiveTheSameVerdictSplit() {
    var random = SnifferRandom(state: 11)
    let hello = ClientHelloBytes(serverName: "shop.example.com", alpn: ["h2", "http/1.1"])
    var opaque = 0
    for round in 0..<3000 {
      var bytes = hello.records(of: round % 2 == 0 ? 1 << 14 : 50)
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      let whole = verdict(bytes)
      if whole == .opaque { opaque += 1 }
      var sniffer = ProtocolSniffer()
      let half = Int.random(in: 0...bytes.count, using: &random)
      _ = Array(bytes[..<half]).withUnsafeBytes { sniffer.feed($0) }
      #expect(Array(bytes[half...]).withUnsafeBytes { sniffer.feed($0) } == whole)
    }
    #expect(opaque > 100)
  }
}
