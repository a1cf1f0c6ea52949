import Testing

@testable import ProxyCore

/// Each bound from both sides.
struct HTTP1BoundsTests {
  /// Of a request whose head has exactly so many bytes.
  private func request(head count: Int) -> String {
    let start = "GET / HTTP/1.1\r\nHost: a\r\nX: "
    return start + String(repeating: "x", count: count - start.utf8.count - 4) + "\r\n\r\n"
  }

  @Test func head() {
    #expect(HTTP1Play.requests(request(head: 64 << 10)).count == 2)
    #expect(HTTP1Play.requests(request(head: 64 << 10 + 1)) == ["error 431"])
    // It doesn't wait for the end of a line that never ends.
    let endless = request(head: 100 << 10).utf8
    #expect(HTTP1Play.requests(String(decoding: endless.prefix(64 << 10 + 1), as: UTF8.self)) == ["error 431"])
    #expect(HTTP1Play.requests(String(decoding: endless.prefix(64 << 10), as: UTF8.self)) == [])
  }

  @Test func fields() {
    func request(_ count: Int) -> String {
      "GET / HTTP/1.1\r\nHost: a\r\n\(String(repeating: "a:b\r\n", count: count - 1))\r\n"
    }
    #expect(HTTP1Play.requests(request(200)).count == 2)
    #expect(HTTP1Play.requests(request(201)) == ["error 431"])
  }

  @Test func startLine() {
    func request(_ count: Int) -> String {
      "GET /\(String(repeating: "a", count: count - 14)) HTTP/1.1\r\nHost: a\r\n\r\n"
    }
    #expect(HTTP1Play.requests(request(16 << 10)).count == 2)
    #expect(HTTP1Play.requests(request(16 << 10 + 1)) == ["error 414"])
    let endless = String(repeating: "a", count: 16 << 10 + 2)
    #expect(HTTP1Play.requests(endless) == ["error 414"])
    #expect(HTTP1Play.requests(String(endless.dropLast())) == [])
  }

  @Test func emptyLines() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    #expect(HTTP1Play.requests("\r\n\r\n\r\n\r\n" + request).count == 2)
    #expect(HTTP1Play.requests("\r\n\r\n\r\n\r\n\r\n") == ["error 400"])
  }

  @Test func chunkLine() {
    func request(_ count: Int) -> String {
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + "0;\(String(repeating: "a", count: count - 2))\r\n\r\n"
    }
    #expect(HTTP1Play.requests(request(1 << 10)).last == "end")
    #expect(HTTP1Play.requests(request(1 << 10 + 1)).last == "error 400")
  }

  @Test func chunkExtensionsDoNotOutweighThePayload() {
    func request(chunks: Int, size: Int) -> String {
      let line = String(size, radix: 16) + ";" + String(repeating: "a", count: 500)
      let chunk = line + "\r\n" + String(repeating: "b", count: size) + "\r\n"
      return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + String(repeating: chunk, count: chunks) + "0\r\n\r\n"
    }
    #expect(HTTP1Play.requests(request(chunks: 30, size: 1)).last == "end")
    #expect(HTTP1Play.requests(request(chunks: 40, size: 1)).last == "error 400")
    #expect(HTTP1Play.requests(request(chunks: 40, size: 500)).last == "end")
    // Small chunks alone are no attack.
    let small = String(repeating: "1\r\na\r\n", count: 50_000)
    let log = HTTP1Play.requests("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\(small)0\r\n\r\n")
    #expect(log.last == "end")
  }

  @Test func largestSizes() {
    let length = HTTP1Play.requests("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\nx")
    #expect(length.suffix(1) == ["body x"])
    let chunk = HTTP1Play.requests(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nx")
    #expect(chunk.suffix(1) == ["body x"])
  }

  @Test func storageOfALargeHeadIsNotKept() {
    var play = HTTP1Play(HTTP1Reader(.request))
    play.feed(Array(request(head: 60 << 10).utf8))
    #expect(play.reader.head.bytes.capacity > 60 << 10)
    play.feed(Array(request(head: 100).utf8))
    #expect(play.reader.head.bytes.capacity <= 16 << 10)
  }
}
