import Testing

@testable import ProxyCore

/// Messages that are as they should be.
struct HTTP1ReaderTests {
  @Test func requestWithoutBody() {
    let log = HTTP1Play.requests("GET /a?b=c HTTP/1.1\r\nHost: web:80\r\nX-Empty:\r\nX-Trimmed: \t a b\t \r\n\r\n")
    #expect(log == ["GET |web:80|/a?b=c (none) Host=web:80 X-Empty= X-Trimmed=a b", "end"])
  }

  @Test func requestWithLength() {
    let log = HTTP1Play.requests("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")
    #expect(log == ["POST |a|/ (length(5)) host=a content-length=5", "body hello", "end"])
  }

  @Test func lengthOfNothing() {
    let log = HTTP1Play.requests("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    #expect(log == ["POST |a|/ (length(0)) Host=a Content-Length=0", "end"])
  }

  @Test func chunksWithExtensionsAndTrailers() {
    let log = HTTP1Play.requests(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
        + "5\r\nhello\r\n00a;name=value;x=\"y z\"\r\n0123456789\r\n0\r\nX-Sum: 7\r\nSet-Cookie: a=b\r\n\r\n")
    // A trailer that would come too late to be heeded is left out.
    #expect(log == ["POST |a|/ (chunked) Host=a Transfer-Encoding=Chunked", "body hello0123456789", "end X-Sum=7"])
  }

  /// What Connection names is of one connection in the trailer section too, also when the head has changed hands.
  @Test(arguments: [true, false]) func trailersThatConnectionNames(isTaken: Bool) throws {
    let text =
      "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Hop\r\nTransfer-Encoding: chunked\r\nconnection: x-other\r\n\r\n"
      + "0\r\nx-hop: 1\r\nX-Sum: 2\r\nX-OTHER: 3\r\n\r\n"
    var reader = HTTP1Reader(.request)
    var head = HTTPHead()
    try Array((text + text.replacing("X-Hop", with: "x")).utf8).withUnsafeBytes { buffer in
      var rest = buffer
      for lines in [["X-Sum: 2"], ["x-hop: 1", "X-Sum: 2"]] {
        _ = try reader.next(from: &rest)
        if isTaken {
          reader.exchangeHead(&head)
          head.removeConnectionFields()
        }
        _ = try reader.next(from: &rest)
        #expect(reader.trailers.lines == lines)
      }
    }
  }

  @Test func anExpectationOfHTTP10IsIgnored() {
    let log = HTTP1Play.requests("POST / HTTP/1.0\r\nExpect: 100-Continue\r\nContent-Length: 0\r\nA: b\r\n\r\n")
    #expect(log == ["POST ||/ (length(0) close 1.0) Content-Length=0 A=b", "end"])
    let both = HTTP1Play.requests("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: x\r\n\r\n")
    #expect(both.first == "GET |a|/ (none continue) Host=a Expect=100-continue Expect=x")
  }

  @Test func pipelinedRequestsAfterEmptyLines() {
    let log = HTTP1Play.requests(
      "\r\n\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\r\n"
        + "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /4 HTTP/1.0\r\n\r\n",
      ends: true)
    #expect(
      log == [
        "GET |a|/1 (none) Host=a", "end", "POST |a|/2 (length(2)) Host=a Content-Length=2", "body hi", "end",
        "POST |a|/3 (chunked) Host=a Transfer-Encoding=chunked", "body x", "end", "GET ||/4 (none close 1.0)", "end",
      ])
  }

  @Test(arguments: [
    ("GET http://web/p?q HTTP/1.1\r\nHost: other\r\n\r\n", "GET http|web|/p?q (none) Host=other"),
    ("GET HTTPS://web:8443 HTTP/1.1\r\nHost: web\r\n\r\n", "GET HTTPS|web:8443|/ (none) Host=web"),
    ("GET http://[::1]:80?q=1 HTTP/1.1\r\nHost: a\r\n\r\n", "GET http|[::1]:80|/?q=1 (none) Host=a"),
    ("OPTIONS http://web HTTP/1.1\r\nHost: web\r\n\r\n", "OPTIONS http|web|* (none) Host=web"),
    ("OPTIONS * HTTP/1.1\r\nHost: web\r\n\r\n", "OPTIONS |web|* (none) Host=web"),
    ("CONNECT web:443 HTTP/1.1\r\nHost: web\r\n\r\n", "CONNECT |web:443| (none) Host=web"),
    ("GET //x HTTP/1.1\r\nHost: a%20b.c_d\r\n\r\n", "GET |a%20b.c_d|//x (none) Host=a%20b.c_d"),
  ])
  func formsOfTargets(request: String, head: String) {
    #expect(HTTP1Play.requests(request) == [head, "end"])
  }

  @Test(arguments: [
    ("1.1", "", "none"), ("1.1", "Connection: Close\r\n", "none close"), ("1.0", "", "none close 1.0"),
    ("1.0", "Connection: x, Keep-Alive\r\n", "none 1.0"),
    ("1.1", "Connection: a\r\nConnection: b,close\r\n", "none close"),
    ("1.0", "Connection: keep-alive, close\r\n", "none close 1.0"),
    ("1.1", "Connection: upgrade\r\nUpgrade: websocket\r\n", "none upgrade"), ("1.1", "Upgrade: websocket\r\n", "none"),
    ("1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n", "none close 1.0"),
    ("1.1", "Connection: upgrade\r\nUpgrade: foo, H2C\r\n", "none"),
    ("1.1", "Expect: 100-Continue\r\n", "none continue"), ("1.0", "Expect: 100-continue\r\n", "none close 1.0"),
  ])
  func connectionAndItsOptions(version: String, fields: String, flags: String) throws {
    let log = HTTP1Play.requests("GET / HTTP/\(version)\r\nHost: a\r\n\(fields)\r\n")
    #expect(try #require(log.first).contains("(\(flags))"))
    #expect(log.count == 2)
  }

  @Test func responses() {
    #expect(
      HTTP1Play.responses("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") == [
        "200 (length(2)) Content-Length=2", "body hi", "end",
      ])
    #expect(HTTP1Play.responses("HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n").last == "end")
    #expect(
      HTTP1Play.responses("HTTP/1.1 200 \r\n\r\nall of it", ends: true) == [
        "200 (untilClose close)", "body all of it", "end",
      ])
    #expect(HTTP1Play.responses("HTTP/1.0 200 OK\r\n\r\n", ends: true) == ["200 (untilClose close 1.0)", "end"])
    #expect(
      HTTP1Play.responses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\na: b\r\n\r\n") == [
        "200 (chunked) Transfer-Encoding=chunked", "body hi", "end a=b",
      ])
  }

  @Test func responsesWithoutBody() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    #expect(HTTP1Play.responses(head, toHead: true) == ["200 (none) Content-Length=9", "end"])
    #expect(HTTP1Play.responses("HTTP/1.1 204 None\r\n\r\n") == ["204 (none)", "end"])
    #expect(
      HTTP1Play.responses("HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n") == ["304 (none) Content-Length=9", "end"])
  }

  @Test func informationalResponsesComeBeforeTheFinalOne() {
    let log = HTTP1Play.responses(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 None\r\n\r\n")
    #expect(
      log == ["100 (none informational)", "end", "103 (none informational) Link=x", "end", "204 (none)", "end"])
  }

  @Test func tunnels() {
    #expect(
      HTTP1Play.responses("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nrawraw", toConnect: true) == [
        "200 (none close tunnel) Content-Length=3", "body rawraw",
      ])
    #expect(
      HTTP1Play.responses("HTTP/1.1 101 Yes\r\nUpgrade: x\r\n\r\nraw", toUpgrade: true, ends: true) == [
        "101 (none close upgrade tunnel) Upgrade=x", "body raw", "end",
      ])
    #expect(
      HTTP1Play.responses("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", toConnect: true) == [
        "403 (length(2)) Content-Length=2", "body no", "end",
      ])
    var play = HTTP1Play(HTTP1Reader(.request))
    play.feed(Array("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
    play.reader.becomeTunnel()
    play.feed(Array("GET not a request".utf8))
    #expect(play.log.last == "body GET not a request")
  }

  @Test func responsesThatNobodyAskedFor() {
    let response = Array("HTTP/1.1 204 None\r\n\r\n".utf8)
    var play = HTTP1Play(HTTP1Reader(.response))
    play.reader.expectResponse(toHead: false, toConnect: false)
    play.feed(response + response)
    #expect(play.log == ["204 (none)", "end", "error 502"])
    // It stays refused.
    play.reader.expectResponse(toHead: false, toConnect: false)
    play.feed(response)
    #expect(play.log.last == "error 502" && play.log.count == 4)
    #expect(HTTP1Play.responses("HTTP/1.1 101 Yes\r\n\r\n") == ["error 502"])
  }

  @Test func ends() {
    #expect(HTTP1Play.requests("", ends: true) == [])
    #expect(HTTP1Play.requests("\r\n", ends: true) == [])
    #expect(HTTP1Play.requests("GET", ends: true) == ["error 400"])
    #expect(
      HTTP1Play.requests("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", ends: true).last == "error 400")
    let response = HTTP1Play.responses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", ends: true)
    #expect(response.suffix(2) == ["body a", "error 502"])
  }

  @Test func headsChangeHands() {
    var reader = HTTP1Reader(.request)
    var mine = HTTPHead()
    let bytes = Array("GET /x HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
    bytes.withUnsafeBytes { buffer in
      var rest = buffer
      _ = try? reader.next(from: &rest)
    }
    #expect(!reader.isBetweenMessages)
    reader.exchangeHead(&mine)
    #expect(mine.text(mine.path) == "/x")
    #expect(reader.head.fields.isEmpty)
  }
}
