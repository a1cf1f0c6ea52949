import Testing

@testable import ProxyCore

struct HTTP1WriterTests {
  private func read(_ text: String, _ role: HTTP1Reader.Role, toHead: Bool = false, toUpgrade: Bool = false)
    -> HTTP1Reader
  {
    var reader = HTTP1Reader(role)
    reader.expectResponse(toHead: toHead, toConnect: false, toUpgrade: toUpgrade)
    Array(text.utf8).withUnsafeBytes { buffer in
      var rest = buffer
      do { _ = try reader.next(from: &rest) } catch { Issue.record("\(error)") }
    }
    return reader
  }

  /// What becomes of a request that is passed on as it came.
  private func pass(_ text: String, keepAlive: Bool = true, forwardsUpgrade: Bool = false) -> String {
    let reader = read(text, .request)
    var output: [UInt8] = []
    HTTP1Writer.request(
      reader.head, framing: reader.framing, keepAlive: keepAlive, forwardsUpgrade: forwardsUpgrade, into: &output)
    return String(decoding: output, as: UTF8.self)
  }

  private func pass(
    response text: String, keepAlive: Bool = true, minorVersion: Int = 1, toHead: Bool = false, toUpgrade: Bool = false
  ) -> String {
    let reader = read(text, .response, toHead: toHead, toUpgrade: toUpgrade)
    var output: [UInt8] = []
    HTTP1Writer.response(
      reader.head, framing: reader.framing, keepAlive: keepAlive, minorVersion: minorVersion, into: &output)
    return String(decoding: output, as: UTF8.self)
  }

  // MARK: Requests

  @Test func orderAndCaseStay() {
    let text =
      "POST /a?b HTTP/1.1\r\nX-b: 1\r\nhOST: a:80\r\nX-A: \r\ntransfer-ENCODING: chunked\r\nx-b: 2\r\nDate: é\r\n\r\n"
    #expect(pass(text) == text)
    let answer = "HTTP/1.1 200 OK\r\nA: 1\r\ntransfer-encoding: chunked\r\nb: 2\r\n\r\n"
    #expect(pass(response: answer) == answer)
    #expect(pass(response: answer, toHead: true) == "HTTP/1.1 200 OK\r\nA: 1\r\nb: 2\r\n\r\n")
  }

  @Test(arguments: [
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("GET http://b/c HTTP/1.1\r\nHost: a\r\n\r\n", "GET /c HTTP/1.1\r\nHost: b\r\n\r\n"),
    ("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: b\r\n\r\n"),
    ("GET http://b?c=d HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?c=d HTTP/1.1\r\nHost: b\r\n\r\n"),
    ("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n"),
    ("CONNECT b:1 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n"),
    ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: \r\n\r\n"),
  ])
  func targets(request: String, written: String) { #expect(pass(request) == written) }

  @Test func framingIsWrittenAnew() {
    #expect(
      pass("POST / HTTP/1.1\r\ncontent-length: 007\r\nHost: a\r\n\r\n")
        == "POST / HTTP/1.1\r\ncontent-length: 7\r\nHost: a\r\n\r\n")
    #expect(
      pass("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n")
        == "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    #expect(pass("PUT / HTTP/1.1\r\nHost: a\r\n\r\n") == "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    #expect(pass("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").hasSuffix("Content-Length: 0\r\n\r\n"))
    #expect(
      pass("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n")
        .hasSuffix("Content-Length: 9223372036854775807\r\n\r\n"))
  }

  @Test func fieldsOfTheConnectionStay() {
    let text =
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Mine, keep-alive\r\nx-mine: 1\r\nKeep-Alive: timeout=5\r\nKept: 1\r\n"
      + "Proxy-Connection: close\r\nConnection: HOST,x-other\r\nX-Other: 1\r\nUpgrade: foo\r\nTE: gzip\r\nX-Mine2: 1\r\n\r\n"
    #expect(pass(text) == "GET / HTTP/1.1\r\nHost: a\r\nKept: 1\r\nX-Mine2: 1\r\n\r\n")
    #expect(pass(text, keepAlive: false).hasSuffix("X-Mine2: 1\r\nConnection: close\r\n\r\n"))
  }

  @Test func acceptanceOfTrailers() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nTE: gzip;q=1, Trailers\r\nConnection: TE\r\nA: b\r\n\r\n"
    #expect(pass(text) == "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nA: b\r\nConnection: TE\r\n\r\n")
    #expect(pass(text.replacing("TE:", with: "tE:")).contains("\r\ntE: trailers\r\nA: b\r\n"))
    #expect(pass(text, keepAlive: false).hasSuffix("Connection: close, TE\r\n\r\n"))
  }

  @Test func upgrades() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
    #expect(pass(text) == "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    #expect(
      pass(text, forwardsUpgrade: true)
        == "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
  }

  /// As HTTP/2 delivers them.
  @Test func cookiesAreJoined() {
    var head = HTTPHead()
    head.setMethod("GET".utf8)
    head.setPath("/".utf8)
    head.setAuthority("a".utf8)
    head.append("cookie", "a=b")
    head.append("x", "y")
    head.append("cookie", "c=d")
    head.append("cookie", "e=f")
    var output: [UInt8] = []
    HTTP1Writer.request(head, framing: .none, keepAlive: true, into: &output)
    #expect(
      String(decoding: output, as: UTF8.self)
        == "GET / HTTP/1.1\r\nHost: a\r\ncookie: a=b; c=d; e=f\r\nx: y\r\n\r\n")
  }

  @Test func nothingIsSmuggledInAField() {
    var head = HTTPHead()
    head.setMethod("GET".utf8)
    head.setPath("/".utf8)
    head.setAuthority("a".utf8)
    head.append("x", "y\r\nz: 1")
    head.append("x y", "1")
    head.append("", "1")
    head.append("x\r\nz", "1")
    head.append("cookie", "a")
    head.append("cookie", "a\nb")
    var output: [UInt8] = []
    HTTP1Writer.request(head, framing: .none, keepAlive: true, into: &output)
    #expect(String(decoding: output, as: UTF8.self) == "GET / HTTP/1.1\r\nHost: a\r\ncookie: a\r\n\r\n")
  }

  // MARK: Responses

  @Test func responses() {
    let text = "HTTP/1.1 200 Fine\r\nServer: x\r\nConnection: close, y\r\nY: 1\r\nContent-Length: 5\r\nz: 2\r\n\r\n"
    #expect(pass(response: text) == "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\nz: 2\r\n\r\n")
    #expect(pass(response: text, keepAlive: false).hasSuffix("Content-Length: 5\r\nz: 2\r\nConnection: close\r\n\r\n"))
    #expect(
      pass(response: text, minorVersion: 0).hasSuffix("Content-Length: 5\r\nz: 2\r\nConnection: keep-alive\r\n\r\n"))
    #expect(pass(response: "HTTP/1.1 799 x\r\nContent-Length: 0\r\n\r\n").hasPrefix("HTTP/1.1 799 \r\n"))
  }

  @Test func bodiesThatLastUntilTheEnd() {
    let endless = "HTTP/1.0 200 OK\r\n\r\n"
    #expect(pass(response: endless) == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    #expect(pass(response: chunked) == "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    #expect(pass(response: chunked, minorVersion: 0) == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    var output: [UInt8] = []
    var head = HTTPHead()
    head.setStatus(200)
    #expect(
      HTTP1Writer.response(head, framing: .chunked, keepAlive: true, minorVersion: 0, into: &output) == .untilClose)
    #expect(HTTP1Writer.response(head, framing: .chunked, keepAlive: true, minorVersion: 1, into: &output) == .chunked)
  }

  @Test func lengthsOfBodiesThatAreNotSent() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    #expect(pass(response: text, toHead: true) == text)
    let unchanged = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
    #expect(pass(response: unchanged) == unchanged)
    #expect(
      pass(response: "HTTP/1.1 204 x\r\nContent-Length: 0\r\n\r\n") == "HTTP/1.1 204 No Content\r\n\r\n")
  }

  @Test func informationalResponses() {
    #expect(
      pass(response: "HTTP/1.1 103 x\r\nLink: a\r\n\r\n", keepAlive: false)
        == "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n")
    #expect(
      pass(response: "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", toUpgrade: true)
        == "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
  }

  @Test func protocolsThatAreRequiredOrOffered() {
    let fields = "Connection: Upgrade\r\nuPGRADE: foo/2\r\nContent-Length: 0\r\n\r\n"
    let required = "HTTP/1.1 426 Upgrade Required\r\nuPGRADE: foo/2\r\nContent-Length: 0\r\nConnection: "
    #expect(pass(response: "HTTP/1.1 426 x\r\n" + fields) == required + "upgrade\r\n\r\n")
    #expect(pass(response: "HTTP/1.1 426 x\r\n" + fields, keepAlive: false) == required + "close, upgrade\r\n\r\n")
    #expect(pass(response: "HTTP/1.1 200 x\r\n" + fields) == "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    #expect(!pass(response: "HTTP/1.1 426 x\r\nContent-Length: 0\r\n\r\n").contains("onnection"))
  }

  // MARK: Chunks

  @Test(arguments: [1, 15, 16, 255, 256, 4096, 65535])
  func chunks(count: Int) {
    var output = Array("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".utf8)
    let payload = [UInt8](repeating: 97, count: count)
    payload.withUnsafeBytes { bytes in
      HTTP1Writer.chunk(bytes, into: &output)
      HTTP1Writer.chunk(UnsafeRawBufferPointer(rebasing: bytes[..<0]), into: &output)
    }
    HTTP1Writer.chunkHeader(count, into: &output)
    output += payload
    HTTP1Writer.chunkEnd(into: &output)
    var trailers = HTTPHead()
    trailers.append("x-sum", "1")
    trailers.append("content-length", "1")
    trailers.append("authorization", "1")
    trailers.append("x", "a\r\nb: c")
    HTTP1Writer.lastChunk(trailers: trailers, into: &output)
    let log = HTTP1Play.requests(String(decoding: output, as: UTF8.self))
    #expect(log.dropFirst() == ["body " + String(repeating: "a", count: 2 * count), "end x-sum=1"])
    let header = String(count, radix: 16) + "\r\n"
    #expect(String(decoding: output, as: UTF8.self).contains("\r\n" + header + "a"))
  }

  @Test func lastChunkWithoutTrailers() {
    var output: [UInt8] = []
    HTTP1Writer.lastChunk(into: &output)
    #expect(output == Array("0\r\n\r\n".utf8))
  }

  /// What was written reads as what was read.
  @Test func roundTrip() {
    for text in [
      "GET /a?b HTTP/1.1\r\nHost: a:80\r\nA: b\r\nC: \r\nA: d\r\n\r\n",
      "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n",
      "PUT /a HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
      #expect(pass(text) == text)
      #expect(HTTP1Play.requests(pass(text)) == HTTP1Play.requests(text))
    }
  }
}
