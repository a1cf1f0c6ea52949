import Testing

@testable import ProxyCore

/// However the bytes are cut, the same events come out.
struct HTTP1SplitTests {
  /// xorshift64*: the same splits every time.
  struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state ^= state >> 12
      state ^= state << 25
      state ^= state >> 27
      return state &* 0x2545_f491_4f6c_dd1d
    }
  }

  static let good =
    "\r\nGET /a HTTP/1.1\r\nHost: web\r\nCookie: a=b\r\n\r\n\r\n\r\nPOST http://a?b HTTP/1.1\r\nhost: c\r\nContent-Length: 5\r\n\r\n"
    + "helloPUT /x HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    + "3;a=b\r\nabc\r\n0000A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nCookie: no\r\n\r\nOPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"

  static let bad = [
    "GET / HTTP/1.1\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\n\r\nGET",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\n", "\r\n\r\n\r\n\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\nabcX",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nHost: a\r\n\r\n",
  ]

  @Test(arguments: [good] + bad.map { "GET /first HTTP/1.1\r\nHost: a\r\n\r\n" + $0 })
  func requests(text: String) {
    check(text) { HTTP1Play.requests($0, cuts: $1, ends: true) }
  }

  @Test func responses() {
    let text =
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      + "5\r\nhello\r\n0\r\na: b\r\n\r\n"
    check(text) { HTTP1Play.responses($0, cuts: $1, ends: true) }
    check("HTTP/1.0 200 OK\r\nA: b\r\n\r\nuntil close") { HTTP1Play.responses($0, cuts: $1, ends: true) }
    check("HTTP/1.1 101 Yes\r\n\r\nraw\r\nbytes") { HTTP1Play.responses($0, cuts: $1, toUpgrade: true, ends: true) }
  }

  @Test func tightBounds() {
    var limits = HTTP1Limits()
    limits.maximumStartLine = 20
    limits.maximumHead = 48
    limits.maximumFields = 2
    limits.maximumChunkLine = 4
    limits.maximumTrailers = 12
    for text in [
      "GET /2345 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /23456789 HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET /234567890 HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nABCDEFGH: 1234567890123\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\na:b\r\nc:d\r\n\r\n",
      "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n",
    ] {
      check(text) { HTTP1Play.requests($0, cuts: $1, limits: limits) }
    }
    limits.maximumHead = 100
    for text in ["1;aa\r\na\r\n0\r\na: bcdef\r\n\r\n", "1;aaa\r\na\r\n", "0\r\na: bcdefghijkl\r\n\r\n"] {
      let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      check(head + text) { HTTP1Play.requests($0, cuts: $1, limits: limits) }
    }
  }

  private func check(_ text: String, _ play: (String, [Int]) -> [String]) {
    let count = text.utf8.count
    let whole = play(text, [])
    #expect(!whole.isEmpty)
    #expect(play(text, Array(1..<count)) == whole, "byte by byte")
    for cut in 0...count where play(text, [cut]) != whole { Issue.record("cut at \(cut)") }
    var random = Seeded(state: 0x9e37_79b9_7f4a_7c15)
    for _ in 0..<500 {
      let cuts = (0..<Int.random(in: 1...12, using: &random)).map { _ in Int.random(in: 0...count, using: &random) }
        .sorted()
      if play(text, cuts) != whole { Issue.record("cuts at \(cuts)") }
    }
  }
}
