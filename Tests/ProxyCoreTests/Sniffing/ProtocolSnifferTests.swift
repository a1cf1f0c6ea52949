import Testing

@testable import ProxyCore

@Suite struct ProtocolSnifferTests {
  static let samples: [([UInt8], SniffedProtocol?)] =
    [
      ("GET / HTTP/1.1\r\n", .http1), ("GET /", .http1), ("GET ", nil), ("GE", nil), ("", nil),
      ("OPTIONS * HTTP/1.1\r\n", .http1), ("OPTIONS *", nil), ("CONNECT a:443 HTTP/1.1\r\n", .http1),
      ("GET http://a/ HTTP/1.1\r\n", .http1), ("BREW /pot HTTP/1.0\n", .http1), ("\r\nGET /", .http1), ("\r", nil),
      ("\rGET /", .opaque), ("P", nil), ("POST /x", .http1), ("PRI", nil), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r", nil),
      ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .http2), ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", .http2),
      ("PRI * HTTP/2.0\r\n\r\nXX", .opaque), ("PRI * HTTP/1.1\r\n", .http1),
      ("EHLO mail.example\r\n", .opaque), ("EHLO mail.example", nil), ("GET key\r\n", .opaque), ("PING\r\n", .opaque),
      ("SET a 1\r\n", .opaque), ("*1\r\n$4\r\nPING\r\n", .opaque), ("SSH-2.0-OpenSSH_9.6\r\n", .opaque),
      ("FOO a\tb HTTP/1.1\r\n", .opaque), ("GET x HTTP/1.x\r\n", .opaque), ("GET \r\n", .opaque), (" GET / ", .opaque),
      (String(repeating: "A", count: 32) + " / HTTP/1.1\n", .http1), (String(repeating: "A", count: 33), .opaque),
      ("FOO " + String(repeating: "a", count: 20_000), .opaque), ("\u{0}\u{1}", .opaque), ("\u{3}\u{0}", .opaque),
    ].map { (Array($0.utf8), $1) } + [
      ([0, 0, 0, 8, 4, 0xD2, 0x16, 0x2F], .opaque),  // PostgreSQL's SSLRequest
      ([0xFF, 0xFE], .opaque),
    ]

  @Test(arguments: samples)
  func byTheFirstBytes(_ bytes: [UInt8], _ expected: SniffedProtocol?) {
    #expect(bytes.withUnsafeBytes(ProtocolSniffer.verdict) == expected)
  }

  @Test func theVerdictDoesNotDependOnHowTheBytesAreSplit() {
    var random = SnifferRandom(state: 3)
    let hellos = [
      ClientHelloBytes(serverName: "a.example"), ClientHelloBytes(serverName: nil, alpn: ["h2", "http/1.1"]),
    ]
    let samples =
      Self.samples.map(\.0).filter { $0.count < 100 } + hellos.flatMap { [$0.records(), $0.records(of: 3)] }
    for bytes in samples {
      let whole = bytes.withUnsafeBytes(ProtocolSniffer.verdict)
      for _ in 0..<20 {
        var sniffer = ProtocolSniffer()
        var verdict: SniffedProtocol?
        var rest = bytes[...]
        while !rest.isEmpty {
          let piece = Array(rest.prefix(Int.random(in: 1...max(1, bytes.count / 2), using: &random)))
          rest = rest.dropFirst(piece.count)
          let said = piece.withUnsafeBytes { sniffer.feed($0) }
          if let verdict { #expect(said == verdict) }
          verdict = said
        }
        #expect(verdict == whole)
      }
    }
  }

  @Test func nothingIsKeptBeyondTheLimit() {
    var sniffer = ProtocolSniffer()
    let piece = Array(repeating: UInt8(ascii: "a"), count: 1000)
    #expect(Array("FOO ".utf8).withUnsafeBytes { sniffer.feed($0) } == nil)
    for _ in 0..<16 { #expect(piece.withUnsafeBytes { sniffer.feed($0) } == nil) }
    #expect(piece.withUnsafeBytes { sniffer.feed($0) } == .opaque)
  }
}

/// SplitMix64: the same numbers each time.
struct SnifferRandom: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }
}
