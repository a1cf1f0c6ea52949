import NIOCore
import Testing

@testable import ProxyCore

/// What breaks the rules of messages or of the protocol: an error of the stream or of the connection.
@Suite struct HTTP2MalformedTests {
  private static func without(_ name: String, _ extra: String...) -> [String] {
    HTTP2Peer.get.filter { !$0.hasPrefix(name) } + extra
  }

  static let malformedRequests: [[String]] = [
    without(":method"), without(":scheme"), without(":path"), without(":authority"),
    // Twice, out of order, unknown, of a response, of an extended CONNECT.
    HTTP2Peer.get + [":method: GET"], HTTP2Peer.get + [":path: /"], ["a: b"] + HTTP2Peer.get,
    HTTP2Peer.get + [":unknown: x"], HTTP2Peer.get + [":status: 200"], HTTP2Peer.get + [":protocol: websocket"],
    // Names.
    HTTP2Peer.get + ["Accept: x"], HTTP2Peer.get + ["a b: x"], HTTP2Peer.get + ["a(: x"],
    HTTP2Peer.get + ["a\u{e9}: x"],
    HTTP2Peer.get + ["a\0: x"], HTTP2Peer.get + ["a\r\n: x"],
    // Values.
    HTTP2Peer.get + ["a: x\0"], HTTP2Peer.get + ["a: x\rb"], HTTP2Peer.get + ["a: x\ny"], HTTP2Peer.get + ["a: x "],
    HTTP2Peer.get + ["a: x\t"], HTTP2Peer.get + ["a: x\u{7f}y"], HTTP2Peer.get + ["a: x\u{1}y"],
    // Of HTTP/1.1.
    HTTP2Peer.get + ["connection: close"], HTTP2Peer.get + ["keep-alive: 5"], HTTP2Peer.get + ["upgrade: h2c"],
    HTTP2Peer.get + ["proxy-connection: x"], HTTP2Peer.get + ["transfer-encoding: chunked"],
    HTTP2Peer.get + ["te: gzip"], HTTP2Peer.get + ["te: trailers, gzip"],
    // Targets.
    without(":path", ":path: "), without(":path", ":path: a"), without(":path", ":path: /a b"),
    without(":path", ":path: /a#b"), without(":path", ":path: *"), without(":path", ":path: http://a/"),
    without(":method", ":method: "), without(":method", ":method: G T"), without(":scheme", ":scheme: ht tp"),
    without(":scheme", ":scheme: 1"), without(":authority", ":authority: u@a"),
    without(":authority", ":authority: a/b"),
    without(":authority", ":authority: "), HTTP2Peer.get + ["host: b"], HTTP2Peer.get + ["host: a", "host: a"],
    // Lengths.
    HTTP2Peer.get + ["content-length: x"], HTTP2Peer.get + ["content-length: -1"], HTTP2Peer.get + ["content-length: "],
    HTTP2Peer.get + ["content-length: 0", "content-length: 0"], HTTP2Peer.get + ["content-length: 1, 1"],
    HTTP2Peer.get + ["content-length: 9999999999999999999"],
    // CONNECT.
    [":method: CONNECT"], [":method: CONNECT", ":authority: a:1", ":path: /"],
    [":method: CONNECT", ":authority: a:1", ":scheme: http"], [":method: CONNECT", "host: a:1"],
  ]

  @Test(arguments: malformedRequests) func aMalformedRequest(lines: [String]) {
    var server = HTTP2Peer.greeted(.server)
    server.feed(Wire.frame(1, flags: 4, stream: 1, Wire.block(lines.map(Self.pair))))
    #expect(server.error == nil && server.seen.isEmpty)
    #expect(server.sentResets() == [1: .protocolError])
    #expect(server.connection.streamCount == 0)
    // Only that stream: the next one, and late frames of this one, are as before.
    server.feed(Wire.data([1], stream: 1, end: true) + Wire.head(3, HTTP2Peer.get, end: true))
    #expect(server.seen == [.headers(3, HTTP2Peer.get, end: true)])
    #expect(server.error == nil)
  }

  /// Without the white space that `HTTP2Peer.pair` drops.
  private static func pair(_ line: String) -> (String, String) {
    let scalars = Array(line.unicodeScalars)
    let colon = scalars.dropFirst().firstIndex(of: ":")!
    func text(_ part: some Sequence<UnicodeScalar>) -> String { String(String.UnicodeScalarView(part)) }
    return (text(scalars[..<colon]), text(scalars[(colon + 1)...].drop { $0 == " " }))
  }

  @Test(arguments: [
    HTTP2Peer.get, ["host: a"].reduce(without(":authority")) { $0 + [$1] }, HTTP2Peer.get + ["host: a"],
    [":method: OPTIONS", ":scheme: http", ":path: *", ":authority: a"], HTTP2Peer.get + ["te: trailers"],
    HTTP2Peer.get + ["content-length: 0"], HTTP2Peer.get + ["a: "], HTTP2Peer.get + ["a: \u{e9} \t x"],
    [":method: CONNECT", ":authority: a:1"],
    [":authority: [::1]:80", ":path: /?q=%20", ":scheme: https", ":method: x-y"],
  ])
  func requestsThatAreFine(lines: [String]) {
    var server = HTTP2Peer.greeted(.server)
    server.feed(Wire.head(1, lines, end: true))
    guard case .headers(1, _, end: true) = server.seen.first else {
      Issue.record("\(server.seen), \(server.sentResets())")
      return
    }
    #expect(!server.connection.head.authority.isEmpty)
  }

  @Test(arguments: [
    [], [":status: 20"], [":status: 2000"], [":status: abc"], [":status: 200", ":status: 200"],
    ["a: b", ":status: 200"],
    [":status: 200", ":path: /"], [":status: 101"], [":status: 200", "connection: close"], [":status: 099"],
    [":status: 200", "content-length: 1", "content-length: 2"],
  ])
  func aMalformedResponse(lines: [String]) {
    var client = HTTP2Peer.greeted(.client)
    _ = client.open()
    client.feed(Wire.head(1, lines))
    #expect(client.seen == [.reset(1, .protocolError)])
    #expect(client.sentResets() == [1: .protocolError])
    #expect(client.error == nil && client.connection.streamCount == 0)
  }

  @Test func anInformationalHeadIsNoEnd() {
    var client = HTTP2Peer.greeted(.client)
    _ = client.open()
    client.feed(Wire.head(1, [":status: 100"], end: true))
    #expect(client.seen == [.reset(1, .protocolError)])
  }

  @Test func dataBeforeTheResponse() {
    var client = HTTP2Peer.greeted(.client)
    _ = client.open()
    client.feed(Wire.head(1, [":status: 100"]) + Wire.data([1], stream: 1))
    #expect(client.seen.last == .reset(1, .protocolError))
  }

  @Test(arguments: [
    (["x: y"], false), ([":status: 200"], true), ([":path: /"], true), (["X: y"], true), (["connection: x"], true),
  ])
  func malformedTrailers(lines: [String], end: Bool) {
    var server = HTTP2Peer.greeted(.server)
    server.feed(Wire.head(1, HTTP2Peer.post) + Wire.data([1], stream: 1) + Wire.head(1, lines, end: end))
    #expect(server.seen.last == .reset(1, .protocolError))
    #expect(server.error == nil && server.sentResets() == [1: .protocolError])
  }

  /// (length, DATA, whether trailers end it, whether that is right)
  @Test(arguments: [
    ("3", [3], false, true), ("3", [1, 2], true, true), ("3", [2], false, false), ("3", [4], false, false),
    ("3", [2, 2], false, false), ("3", [2], true, false), ("0", [], false, true), ("0", [1], false, false),
    ("3", [], false, false),
  ])
  func contentLengthAgreesWithData(length: String, data: [Int], trailers: Bool, isRight: Bool) {
    for role in [HTTP2Connection.Role.server, .client] {
      var peer = HTTP2Peer.greeted(role)
      if role == .client { _ = peer.open(end: false) }
      peer.feed(Wire.head(1, (role == .client ? [":status: 200"] : HTTP2Peer.post) + ["content-length: \(length)"]))
      for (index, count) in data.enumerated() {
        let end = !trailers && index == data.count - 1
        peer.feed(Wire.data([UInt8](repeating: 1, count: count), stream: 1, end: end), pieces: [10, 1])
      }
      if trailers { peer.feed(Wire.head(1, ["x: y"], end: true)) }
      if data.isEmpty { peer.feed(Wire.data([], stream: 1, end: true)) }
      #expect(peer.error == nil)
      if isRight {
        #expect(peer.seen.last == (trailers ? .trailers(1, ["x: y"]) : .ended(1)))
      } else {
        #expect(peer.seen.last == .reset(1, .protocolError))
        #expect(peer.data(on: 1).count <= Int(length)!)
      }
    }
    // A head that ends at once has none.
    var server = HTTP2Peer.greeted(.server)
    server.feed(Wire.head(1, HTTP2Peer.post + ["content-length: \(length)"], end: true))
    #expect(server.seen.isEmpty == (length != "0"))
  }

  private func failure(after bytes: [UInt8], role: HTTP2Connection.Role = .server) -> HTTP2ErrorCode? {
    var peer = HTTP2Peer.greeted(role)
    if role == .client { _ = peer.open(end: false) } else { peer.feed(Wire.head(1, HTTP2Peer.post)) }
    peer.feed(bytes)
    return peer.error?.code
  }

  @Test func framesThatLieAboutTheirLength() {
    #expect(failure(after: Wire.frame(0, stream: 1, Array(repeating: 0, count: 262_145))) == .frameSizeError)
    #expect(failure(after: Wire.frame(1, stream: 1, Array(repeating: 0, count: 66_000))) == .frameSizeError)
    #expect(failure(after: Wire.frame(6, Array(repeating: 0, count: 7))) == .frameSizeError)
    #expect(failure(after: Wire.frame(3, stream: 1, [0, 0, 0])) == .frameSizeError)
    #expect(failure(after: Wire.frame(4, [0, 1, 0, 0, 0])) == .frameSizeError)
    #expect(failure(after: Wire.frame(4, flags: 1, Array(repeating: 0, count: 6))) == .frameSizeError)
    #expect(failure(after: Wire.frame(7, Array(repeating: 0, count: 7))) == .frameSizeError)
    #expect(failure(after: Wire.frame(8, [0, 0, 1])) == .frameSizeError)
    #expect(failure(after: Wire.frame(1, flags: 0x24, stream: 3, [0, 0, 0, 0])) == .frameSizeError)
    #expect(failure(after: Wire.frame(1, flags: 0xc, stream: 3, [])) == .frameSizeError)
    #expect(failure(after: Wire.frame(1, flags: 0xc, stream: 3, [5, 0, 0, 0, 0])) == .protocolError)
    #expect(failure(after: Wire.frame(0, flags: 8, stream: 1, [5, 0, 0, 0, 0])) == .protocolError)
  }

  @Test func framesOfTheWrongStream() {
    #expect(failure(after: Wire.data([1], stream: 0)) == .protocolError)
    #expect(failure(after: Wire.data([1], stream: 3)) == .protocolError)
    #expect(failure(after: Wire.data([1], stream: 2)) == .protocolError)
    #expect(failure(after: Wire.reset(0)) == .protocolError)
    #expect(failure(after: Wire.reset(3)) == .protocolError)
    #expect(failure(after: Wire.windowUpdate(3, 1)) == .protocolError)
    #expect(failure(after: Wire.windowUpdate(0, 0)) == .protocolError)
    #expect(failure(after: Wire.head(0, HTTP2Peer.get)) == .protocolError)
    #expect(failure(after: Wire.head(2, HTTP2Peer.get)) == .protocolError)
    #expect(failure(after: Wire.head(5, HTTP2Peer.get, end: true) + Wire.head(4, HTTP2Peer.get)) == .protocolError)
    #expect(failure(after: Wire.frame(4, stream: 1)) == .protocolError)
    #expect(failure(after: Wire.frame(6, stream: 1, Array(repeating: 0, count: 8))) == .protocolError)
    #expect(failure(after: Wire.frame(7, stream: 1, Array(repeating: 0, count: 8))) == .protocolError)
    #expect(failure(after: Wire.frame(2, stream: 0, [0, 0, 0, 0, 0])) == .protocolError)
    #expect(failure(after: Wire.head(3, [":status: 200"]), role: .client) == .protocolError)
    #expect(failure(after: Wire.head(2, [":status: 200"]), role: .client) == .protocolError)
    #expect(failure(after: Wire.frame(5, flags: 4, stream: 1, [0, 0, 0, 2]), role: .client) == .protocolError)
    #expect(failure(after: Wire.frame(5, flags: 4, stream: 1, [0, 0, 0, 2])) == .protocolError)
    #expect(failure(after: Wire.frame(1, flags: 0x24, stream: 3, [0, 0, 0, 3, 0])) == .protocolError)
  }

  @Test func framesOfClosedStreams() {
    let ended = Wire.data([1], stream: 1, end: true)
    // Half closed: an error of the stream.
    for late in [Wire.data([1], stream: 1), Wire.head(1, ["a: b"], end: true)] {
      var server = HTTP2Peer.greeted(.server)
      server.feed(Wire.head(1, HTTP2Peer.post) + ended + late)
      #expect(server.seen.last == .reset(1, .streamClosed))
      #expect(server.error == nil)
    }
    // Closed by both ends: of the connection.
    for late in [Wire.data([1], stream: 1), Wire.head(1, HTTP2Peer.get)] {
      var server = HTTP2Peer.greeted(.server)
      server.feed(Wire.head(1, HTTP2Peer.post) + ended)
      server.respond(200, on: 1, end: true)
      server.feed(Wire.reset(1) + Wire.windowUpdate(1, 5))
      #expect(server.error == nil)
      server.feed(late)
      #expect(server.error?.code == .streamClosed)
    }
    // Reset by the peer: answered; reset here: passed over.
    var server = HTTP2Peer.greeted(.server)
    server.feed(Wire.head(1, HTTP2Peer.post) + Wire.head(3, HTTP2Peer.post) + Wire.reset(1))
    server.connection.reset(3, code: .cancel, into: &server.out)
    server.forget()
    server.feed(Wire.data([1], stream: 1) + Wire.data([1], stream: 3) + Wire.head(3, ["a: b"], end: true))
    #expect(server.error == nil && server.seen.isEmpty)
    #expect(server.sentResets() == [1: .streamClosed])
  }

  @Test func settingsOutOfRange() {
    #expect(failure(after: Wire.settings([(5, 16_383)])) == .protocolError)
    #expect(failure(after: Wire.settings([(5, 1 << 24)])) == .protocolError)
    #expect(failure(after: Wire.settings([(2, 2)])) == .protocolError)
    #expect(failure(after: Wire.settings([(2, 1)])) == nil)
    #expect(failure(after: Wire.settings([(2, 1)]), role: .client) == .protocolError)
    #expect(failure(after: Wire.settings([(99, 1), (1, 0), (6, 10)])) == nil)
  }

  @Test func theFirstFrameHasToBeSettings() {
    for frame in [
      Wire.ping(), Wire.head(1, HTTP2Peer.get), Wire.data([], stream: 1), Wire.frame(4, flags: 1), Wire.frame(20),
    ] {
      var server = HTTP2Peer(.server)
      server.feed(Wire.preface + frame)
      #expect(server.error?.code == .protocolError)
    }
  }

  @Test func aHeaderBlockIsNotInterrupted() {
    let open = Wire.frame(1, stream: 3, Wire.block([(":method", "GET")]))
    for frame in [
      Wire.ping(), Wire.data([1], stream: 1), Wire.head(5, HTTP2Peer.get), Wire.frame(9, flags: 4, stream: 1),
      Wire.frame(20, stream: 3),
    ] {
      #expect(failure(after: open + frame) == .protocolError)
    }
    #expect(failure(after: Wire.frame(9, flags: 4, stream: 1)) == .protocolError)
    #expect(failure(after: Wire.frame(1, flags: 4, stream: 3, [0xff])) == .compressionError)
  }

  @Test func priorityIsReadAndIgnored() {
    #expect(failure(after: Wire.frame(2, stream: 9, [0, 0, 0, 1, 3])) == nil)
    var server = HTTP2Peer.greeted(.server)
    server.feed(Wire.head(1, HTTP2Peer.post) + Wire.frame(2, stream: 1, [0, 0, 0, 1, 3]))
    #expect(server.seen.last == .reset(1, .protocolError))
    server.feed(Wire.head(3, HTTP2Peer.post) + Wire.frame(2, stream: 3, [0, 0, 0, 1]))
    #expect(server.seen.last == .reset(3, .frameSizeError))
    #expect(server.error == nil)
  }
}
