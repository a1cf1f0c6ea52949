import Testing

@testable import ProxyCore

/// What has to be refused, and with which status.
struct HTTP1RefusalTests {
  @Test(arguments: [
    (414, "GET /\(String(repeating: "a", count: 16 << 10)) HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    (400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "GET /é HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "G@T / HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET\r\n\r\n"), (400, "GET /\r\n\r\n"), (400, "GET / \r\n\r\n"), (400, "GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET  HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET / http/1.1\r\nHost: a\r\n\r\n"), (400, "GET / HTTP/1.1x\r\nHost: a\r\n\r\n"),
    (400, "GET / HTTP/1.10\r\nHost: a\r\n\r\n"), (400, "GET / HTTP/11\r\nHost: a\r\n\r\n"),
    (400, "GET / HTTP/1,1\r\nHost: a\r\n\r\n"), (400, "GET / HTTP/a.b\r\nHost: a\r\n\r\n"),
    (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"), (505, "GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    (505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"), (505, "GET / HTTP/3\r\nHost: a\r\n\r\n"),
    (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), (400, "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "GET / HTTP/1.1\nHost: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"), (400, "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "GET http: HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "CONNECT http://a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na"),
    (400, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
  ])
  func requestLines(status: Int, request: String) {
    #expect(HTTP1Play.requests(request) == ["error \(status)"])
  }

  @Test(arguments: [
    "", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host:\r\n", "Host: a b\r\n", "Host: a/b\r\n",
    "Host: u@a\r\n", "Host: a:\r\n", "Host: :80\r\n", "Host: a:b\r\n", "Host: a:65536\r\n", "Host: a:000001\r\n",
    "Host: a:1:2\r\n", "Host: [::1\r\n", "Host: []\r\n", "Host: [::1]a\r\n", "Host: [a.b]\r\n", "Host: [g::]\r\n",
    "Host: a%2\r\n", "Host: a%zz\r\n", "Host: é\r\n", "Host: a\\b\r\n", "Host: a?b\r\n", "Host: a#b\r\n",
  ])
  func hosts(fields: String) {
    #expect(HTTP1Play.requests("GET / HTTP/1.1\r\n\(fields)\r\n") == ["error 400"])
  }

  @Test func hostOfHTTP10() {
    #expect(HTTP1Play.requests("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n") == ["error 400"])
  }

  @Test(arguments: [
    "A: b\nC: d\r\n", "A: b\r\n c\r\n", "A: b\r\n\tc\r\n", " A: b\r\n", "A : b\r\n", "A\t: b\r\n", ": b\r\n", "A\r\n",
    "A b: c\r\n", "A(: b\r\n", "é: b\r\n", "A: b\0\r\n", "A: b\rc\r\n", "A: b\r\r\n", "A: \u{1}\r\n", "A: \u{7f}\r\n",
    "A: 1234567\u{1f}12345678\r\n", "A: \t\t\t\t\t\t\t\t\u{b}\r\n", "A\0: b\r\n", "\n", "\r\r\n", "\r",
    "Connection: a b\r\n", "Connection: \"close\"\r\n",
    "Connection: \(Array(repeating: "a", count: 33).joined(separator: ","))\r\n",
  ])
  func fields(fields: String) {
    #expect(HTTP1Play.requests("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n") == ["error 400"])
  }

  @Test(arguments: [
    (400, "Content-Length: 1\r\nContent-Length: 2\r\n"), (400, "Content-Length: 1\r\ncontent-length: 1\r\n"),
    (400, "Content-Length: 1, 1\r\n"), (400, "Content-Length: +1\r\n"), (400, "Content-Length: -1\r\n"),
    (400, "Content-Length: 0x1\r\n"), (400, "Content-Length: 1 1\r\n"), (400, "Content-Length:\r\n"),
    (400, "Content-Length: 1.0\r\n"), (400, "Content-Length: 9223372036854775808\r\n"),
    (400, "Content-Length: 18446744073709551617\r\n"), (400, "Content-Length: 00000000000000000001\r\n"),
    (400, "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
    (400, "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), (501, "Transfer-Encoding: gzip\r\n"),
    (501, "Transfer-Encoding: gzip, chunked\r\n"), (400, "Transfer-Encoding: chunked, gzip\r\n"),
    (400, "Transfer-Encoding: chunked, chunked\r\n"),
    (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    (501, "Transfer-Encoding: identity\r\n"), (501, "Transfer-Encoding: xchunked\r\n"),
    (400, "Transfer-Encoding: chunked,\r\n"), (400, "Transfer-Encoding: ,chunked\r\n"), (400, "Transfer-Encoding:\r\n"),
    (400, "Transfer-Encoding: chunked;a=b\r\n"), (400, "Transfer-Encoding: \"chunked\"\r\n"),
    (400, "Transfer-Encoding: chun\u{b}ked\r\n"), (400, "Transfer-Encoding : chunked\r\n"),
    (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
  ])
  func framing(status: Int, fields: String) {
    let body = "\r\n0\r\n\r\n"
    #expect(HTTP1Play.requests("POST / HTTP/1.1\r\nHost: a\r\n\(fields)\(body)") == ["error \(status)"])
    // A response has no status to be told: it is the peer that is wrong.
    #expect(HTTP1Play.responses("HTTP/1.1 200 OK\r\n\(fields)\(body)") == ["error 502"])
  }

  @Test func chunkedInHTTP10() {
    #expect(HTTP1Play.requests("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == ["error 400"])
    #expect(HTTP1Play.responses("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == ["error 502"])
  }

  @Test(arguments: [
    "\r\n", "+1\r\na\r\n", "-1\r\na\r\n", "0x1\r\na\r\n", " 1\r\na\r\n", "1 \r\na\r\n", "1\t;a\r\na\r\n", "g\r\n",
    ";a\r\n",
    "1\na\r\n", "1\ra\r\n", "1;a\nb\r\n", "1;a\rb\r\n", "1;\0\r\na\r\n", "8000000000000000\r\n",
    "00000000000000001\r\na\r\n",
    "fffffffffffffffff\r\n", "1;\(String(repeating: "a", count: 1 << 10))\r\n",
  ])
  func chunkLines(chunk: String) {
    let log = HTTP1Play.requests("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\(chunk)")
    #expect(log.dropFirst() == ["error 400"])
  }

  @Test(arguments: [
    (400, "1\r\nab\r\n"), (400, "1\r\na0\r\n"), (400, "1\r\na\n0\r\n\r\n"), (400, "1\r\na\r0\r\n\r\n"),
    (400, "1\r\na\r\n0\r\nContent-Length: 1\r\n\r\n"), (400, "1\r\na\r\n0\r\ntransfer-encoding: chunked\r\n\r\n"),
    (400, "1\r\na\r\n0\r\nHost: b\r\n\r\n"), (400, "1\r\na\r\n0\r\nTE: x\r\n\r\n"),
    (400, "1\r\na\r\n0\r\nA: b\n\r\n"), (400, "1\r\na\r\n0\r\n\n"), (400, "1\r\na\r\n0\r\nA\r\n\r\n"),
    (400, "1\r\na\r\n0\r\nA: b\r\n c\r\n\r\n"),
    (431, "1\r\na\r\n0\r\nA: \(String(repeating: "b", count: 16 << 10))\r\n\r\n"),
    (431, "1\r\na\r\n0\r\n\(String(repeating: "a: b\r\n", count: 201))\r\n"),
  ])
  func chunkEndsAndTrailers(status: Int, body: String) {
    let log = HTTP1Play.requests("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\(body)")
    #expect(log.dropFirst() == ["body a", "error \(status)"])
  }

  @Test(arguments: [
    "HTTP/1.1\r\n\r\n", "HTTP/1.1 20\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n",
    "\r\nHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n",
    "HTTP/1.1\t200 OK\r\n\r\n", "HTTP/1.1 200\tOK\r\n\r\n", "HTTP/1.1 200 O\0K\r\n\r\n", "HTTP/1.1 200 O\rK\r\n\r\n",
    "HTTP/1.1 200 OK\n\r\n", "HTTP/1.1 204 None\r\nContent-Length: 1\r\n\r\n",
    "HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 100 Go on\r\nContent-Length: 5\r\n\r\n",
  ])
  func statusLines(response: String) {
    #expect(HTTP1Play.responses(response) == ["error 502"])
  }
}
