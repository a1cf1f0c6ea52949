import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// What a gateway keeps, adds and takes out between two connections (RFC 9110 §7.6).
  @Suite struct HTTPForwardingTests {
    @Test func whatAnAnswersConnectionNamesStays() throws {
      let lab = try HTTPLab(policies: [.web { $0.sessionPersistence = SessionPersistence(name: "sticky") }])
      let client = try lab.connect()
      try client.get()
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.write("HTTP/1.1 103 x\r\nConnection: x-hop\r\nX-Hop: 1\r\nLink: a\r\n\r\n")
      try backend.respond(
        200, "answer", "Connection: keep-alive, X-Hop, Set-Cookie", "X-Hop: 1", "Set-Cookie: its=own", "Kept: 2")
      let hints = try client.readHead()
      #expect(hints["link"] == "a" && hints["x-hop"] == nil && hints["connection"] == nil)
      let answer = try client.read()
      #expect(answer["x-hop"] == nil && answer["kept"] == "2" && answer["connection"] == nil)
      // Nobody names away what the proxy adds.
      let cookies = answer.values("set-cookie")
      #expect(cookies.count == 1 && cookies[0].hasPrefix("sticky="))
      client.close()
      try lab.finish()
    }

    @Test func theHostKeepsItsPlaceAndCase() throws {
      let rule = RouteRule.to("web", path: "/renamed", filters: [.rewrite(Rewrite(hostname: "other"))])
      let lab = try HTTPLab(routes: [.web([rule, .to("web")])])
      let client = try lab.connect()
      try client.write("GET / HTTP/1.1\r\nA: 1\r\nhOsT: web\r\nTe: trailers\r\nConnection: te\r\nB: 2\r\n\r\n")
      let backend = try lab.accept()
      var request = try backend.read()
      #expect(Self.first(4, of: request) == ["A: 1", "hOsT: web", "Te: trailers", "B: 2"])
      try backend.respond()
      _ = try client.read()
      try client.write("GET /renamed HTTP/1.1\r\nA: 1\r\nhOsT: web\r\nB: 2\r\n\r\n")
      request = try backend.read()
      #expect(Self.first(3, of: request) == ["A: 1", "hOsT: other", "B: 2"])
      try backend.respond()
      _ = try client.read()
      client.close()
      try lab.finish()
    }

    private static func first(_ count: Int, of message: HTTPPeer.Message) -> [String] {
      message.fields.prefix(count).map { "\($0.name): \($0.value)" }
    }

    @Test func aRequiredUpgradeIsSaid() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.get()
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.respond(426, "no", "Upgrade: foo/2", "Connection: upgrade")
      let answer = try client.read()
      #expect(answer.status == 426 && answer["upgrade"] == "foo/2" && answer["connection"] == "upgrade")
      client.close()
      try lab.finish()
    }

    @Test func everyAnswerHasItsDate() throws {
      let lab = try HTTPLab(routes: [.web([.to("web", path: "/web")])])
      let client = try lab.connect()
      try client.write("GET /web HTTP/1.1\r\nHost: web\r\n\r\nGET /web HTTP/1.1\r\nHost: web\r\n\r\n")
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.respond(200, "", "Date: Sun, 06 Nov 1994 08:49:37 GMT")
      _ = try backend.read()
      try backend.respond(200)
      #expect(try client.read().values("date") == ["Sun, 06 Nov 1994 08:49:37 GMT"])
      #expect(try client.read().values("date").map(Self.isNow) == [true])
      try client.get("/none")
      #expect(try client.read().values("date").map(Self.isNow) == [true])
      try client.write("no request\r\n\r\n")
      #expect(try client.read().values("date").map(Self.isNow) == [true])
      client.close()
      let talker = try HTTP2Talker(lab.connect(), .client)
      var answer = try talker.answer(to: talker.request("GET", "/none"))
      #expect(answer.status == 404 && answer["date"].map(Self.isNow) == true)
      answer = try talker.answer(to: talker.request("CONNECT"))
      #expect(answer.status == 501 && answer["date"].map(Self.isNow) == true)
      talker.peer.close()
      try lab.finish()
    }

    /// Within a minute: what lies in the past would be no wait at all.
    private static func isNow(_ date: String) -> Bool {
      let wait = RetryAfter.parse(date.utf8, unixTime: Int64(time(nil)) - 60) ?? 0
      return NanoTime.seconds(1)...NanoTime.seconds(62) ~= wait
    }

    @Test(arguments: ["http", "http2"]) func informationalAnswersEnd(speaking: String) throws {
      let lab = try HTTPLab(speaking: speaking, policies: [.web { _ in }])
      let client = try lab.connect()
      for (count, status) in [(100, 200), (101, 502)] {
        try client.get()
        if speaking == "http" {
          let backend = try lab.accept()
          _ = try backend.read()
          try backend.write(String(repeating: "HTTP/1.1 103 x\r\n\r\n", count: count))
          if count == 100 { try backend.respond(200, "", "Connection: close") }
        } else {
          let backend = try HTTP2Talker(lab.accept(), .server)
          let stream = try backend.nextRequest()
          for _ in 0..<count { try backend.respond(stream, 103, end: false) }
          if count == 100 {
            try backend.respond(stream, 200, ["content-length: 0"])
          } else {
            try backend.read { $0.messages[stream]?.reset != nil }
          }
          try backend.goAway()
        }
        for _ in 0..<100 { #expect(try client.readHead().status == 103) }
        let answer = try client.read()
        #expect(answer.status == status && (status == 200) == (answer["weft-reason"] == nil))
        #expect(answer["weft-reason"]?.hasPrefix("UPE: ") != false)
      }
      client.close()
      try lab.finish()
    }

    @Test func requestsThatMayGoNoFurther() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.write("OPTIONS * HTTP/1.1\r\nHost: web\r\nMax-Forwards: 0\r\n\r\n")
      var answer = try client.read()
      #expect(answer.status == 200 && answer["content-length"] == "0")
      try client.write("TRACE / HTTP/1.1\r\nHost: web\r\nCookie: secret\r\nMax-Forwards: 0\r\n\r\n")
      answer = try client.read()
      #expect(answer.status == 501 && !answer.text.contains("secret"))
      #expect(lab.isLeftAlone(for: 0))
      try client.write("OPTIONS / HTTP/1.1\r\nHost: web\r\nMax-Forwards: 2\r\n\r\n")
      let backend = try lab.accept()
      #expect(try backend.read()["max-forwards"] == "1")
      try backend.respond(200, "there")
      #expect(try client.read().text == "there")
      client.close()
      try lab.finish()
    }

    /// A body that was held back for 100 (Continue) isn't waited for, and what comes of it is no request.
    @Test func anAnswerInPlaceOf100() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.write("POST / HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 26\r\n\r\n")
      let backend = try lab.accept()
      _ = try backend.readHead()
      try backend.respond(417, "no")
      let answer = try client.read()
      #expect(answer.status == 417 && answer.text == "no" && answer["connection"] == "close")
      try client.write("GET /body HTTP/1.1\r\nHost: a")
      #expect(try client.readToEnd() == [])
      // Its server waits for the body too: this connection can't carry another request.
      #expect(backend.socket.receiveError() != EAGAIN)
      client.close()
      try lab.finish()
    }

    @Test func aTunnelHasNoLength() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.write("CONNECT web:1 HTTP/1.1\r\nHost: web:1\r\n\r\n")
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.write("HTTP/1.1 200 x\r\nContent-Length: 3\r\n\r\nfirst")
      let answer = try client.readHead()
      #expect(answer.status == 200 && answer["content-length"] == nil)
      #expect(try client.take(5) == Array("first".utf8))
      client.close()
      #expect(try backend.readToEnd() == [])
      backend.close()
      try lab.finish()
    }
  }
}
