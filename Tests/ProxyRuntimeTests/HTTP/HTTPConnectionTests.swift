import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Connections of HTTP/1.1 on both sides: order, framing, backpressure, ends.
  @Suite struct HTTPConnectionTests {
    @Test func keepAliveUsesOneConnectionOnEachSide() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.get("/0")
      let backend = try lab.accept()
      for round in 0..<20 {
        let request = try backend.read()
        #expect(request.start == "GET /\(round) HTTP/1.1" && request["host"] == "web")
        #expect(request.values("x-forwarded-for") == ["127.0.0.1"] && request["x-request-id"]?.utf8.count == 36)
        try backend.respond(200, "answer \(round)", "X-Seen: \(round)", "Connection: keep-alive")
        let answer = try client.read()
        #expect(answer.start == "HTTP/1.1 200 OK" && answer.text == "answer \(round)" && answer["x-seen"] == "\(round)")
        if round < 19 { try client.get("/\(round + 1)") }
      }
      #expect(lab.isLeftAlone(for: 0))
      client.close()
      try lab.finish()
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() throws {
      let lab = try HTTPLab(routes: [.web([.to("web", path: "/web")])])
      let client = try lab.connect()
      // One has a body, one no route; all of it in one write.
      try client.write(
        "GET /web/1 HTTP/1.1\r\nHost: web\r\n\r\nPOST /web/2 HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabc"
          + "GET /none HTTP/1.1\r\nHost: web\r\n\r\nGET /web/4 HTTP/1.1\r\nHost: web\r\n\r\n")
      let backend = try lab.accept()
      #expect(try backend.read().target == "/web/1")
      // The second isn't sent before the first is answered.
      #expect(backend.isSilent())
      try backend.respond(200, "one")
      let second = try backend.read()
      #expect(second.target == "/web/2" && second.text == "abc")
      try backend.respond(200, "two")
      #expect(try backend.read().target == "/web/4")
      try backend.respond(200, "four")
      #expect(try client.read().text == "one")
      #expect(try client.read().text == "two")
      #expect(try client.read().status == 404)
      #expect(try client.read().text == "four")
      client.close()
      try lab.finish()
    }

    @Test func manyPipelinedRequests() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.write((0..<200).map { "GET /\($0) HTTP/1.1\r\nHost: web\r\n\r\n" }.joined())
      let backend = try lab.accept()
      for round in 0..<200 {
        #expect(try backend.read().target == "/\(round)")
        try backend.respond(200, "\(round)")
        #expect(try client.read().text == "\(round)")
      }
      client.close()
      try lab.finish()
    }

    /// A client that reads nothing stops the backend; a backend that reads nothing stops the client.
    @Test(arguments: [true, false]) func aSideThatDoesNotReadStopsTheOther(isRequest: Bool) throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      let size = 40 << 20
      if isRequest {
        try client.write("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: \(size)\r\n\r\n")
      } else {
        try client.get()
      }
      let backend = try lab.accept()
      if isRequest {
        _ = try backend.readHead()
      } else {
        _ = try backend.read()
        try backend.write("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n")
      }
      let (writer, reader) = isRequest ? (client, backend) : (backend, client)
      if !isRequest { _ = try reader.readHead() }
      let chunk = pattern(65_536, 3)
      let flags = fcntl(writer.socket.fd, F_GETFL)
      writer.socket.stopBlocking()
      var sent = 0
      var idle = 0
      while idle < 50 {
        let at = sent % chunk.count
        let count = chunk[at...].withUnsafeBytes {
          send(writer.socket.fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        sent += max(0, count)
        idle = count > 0 ? 0 : idle + 1
        if count <= 0 { usleep(2000) }
      }
      // Two pairs of kernel buffers, and the proxy's own.
      #expect(sent < 24 << 20)
      // Once it reads, all of it arrives as it was sent.
      _ = fcntl(writer.socket.fd, F_SETFL, flags)
      let socket = writer.socket
      let start = sent
      let rest = inBackground {
        var sent = start
        while sent < size {
          let at = sent % chunk.count
          let piece = Array(chunk[at..<min(chunk.count, at + size - sent)])
          try socket.write(piece)
          sent += piece.count
        }
      }
      var received = 0
      var differs = false
      while received < size {
        let piece = try reader.take(min(size - received, 65_536))
        if piece != Array(chunk.prefix(piece.count)) { differs = true }
        received += piece.count
      }
      #expect(!differs)
      try rest.get()
      if isRequest {
        try backend.respond(200, "all")
        #expect(try client.read().text == "all")
      }
      client.close()
      try lab.finish(threads: 1)
    }

    @Test func chunksAndTrailersPassBothWays() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.write(
        "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
      )
      let backend = try lab.accept()
      let request = try backend.read()
      #expect(request.text == "abcde" && request["x-sum"] == "5")
      try backend.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
      #expect(try client.readHead()["transfer-encoding"] == "chunked")
      // What there is goes on before the rest comes.
      #expect(try client.take(6) == Array("1\r\nx\r\n".utf8))
      try backend.write("0\r\nX-Sum: 1\r\n\r\n")
      #expect(try client.take(15) == Array("0\r\nX-Sum: 1\r\n\r\n".utf8))
      client.close()
      try lab.finish()
    }

    @Test func aBodyUntilTheEndBecomesChunks() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.get()
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.write("HTTP/1.1 200 OK\r\n\r\nuntil the end")
      backend.close()
      #expect(try client.read().text == "until the end")
      // The client's connection goes on.
      try client.get("/next")
      let second = try lab.accept()
      _ = try second.read()
      try second.respond(200, "next")
      #expect(try client.read().text == "next")
      client.close()
      try lab.finish()
    }

    @Test func aClientOfHTTP10() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.write("GET /old HTTP/1.0\r\n\r\n")
      let backend = try lab.accept()
      #expect(try backend.read().start == "GET /old HTTP/1.1")
      try backend.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
      let head = try client.readHead()
      #expect(head["transfer-encoding"] == nil && head["connection"] == "close")
      #expect(try client.readToEnd() == Array("abc".utf8))
      client.close()
      // With a length the connection may go on, if it asks for that.
      let keeping = try lab.connect()
      for _ in 0..<2 {
        try keeping.write("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        _ = try backend.read()
        try backend.respond(200, "abc")
        let answer = try keeping.read()
        #expect(answer.text == "abc" && answer["connection"] == "keep-alive")
      }
      keeping.close()
      try lab.finish()
    }

    @Test func answersToHEADHaveNoBody() throws {
      let lab = try HTTPLab(routes: [.web([.to("web", path: "/web")])])
      let client = try lab.connect()
      try client.write("HEAD /web HTTP/1.1\r\nHost: web\r\n\r\nHEAD /none HTTP/1.1\r\nHost: web\r\n\r\n")
      let backend = try lab.accept()
      #expect(try backend.read().start == "HEAD /web HTTP/1.1")
      try backend.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
      let answer = try client.read(toHead: true)
      #expect(answer.status == 200 && answer.values("content-length") == ["1000"])
      let refusal = try client.read(toHead: true)
      #expect(refusal.status == 404 && refusal.values("content-length").count == 1)
      // Both connections are in step still.
      try client.get("/web/2")
      #expect(try backend.read().target == "/web/2")
      try backend.respond(200, "two")
      #expect(try client.read().text == "two")
      client.close()
      try lab.finish()
    }

    @Test func informationalAnswersPass() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.write("POST / HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
      let backend = try lab.accept()
      #expect(try backend.readHead()["expect"] == "100-continue")
      try backend.write("HTTP/1.1 100 Continue\r\n\r\n")
      #expect(try client.readHead().start == "HTTP/1.1 100 Continue")
      try client.write("ab")
      #expect(try backend.take(2) == Array("ab".utf8))
      try backend.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
      try backend.respond(201, "made")
      #expect(try client.readHead()["link"] == "</a>")
      let answer = try client.read()
      #expect(answer.status == 201 && answer.text == "made")
      client.close()
      try lab.finish()
    }

    @Test func anUpgradedConnectionCarriesBytes() throws {
      let lab = try HTTPLab(policies: [.web { $0.circuitBreaker = CircuitBreaker(maxConnections: 1) }])
      let client = try lab.connect()
      try client.get("/chat", "Connection: Upgrade", "Upgrade: websocket")
      let backend = try lab.accept()
      let request = try backend.read()
      #expect(request["upgrade"] == "websocket" && request["connection"]?.lowercased() == "upgrade")
      try backend.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
      let answer = try client.readHead()
      #expect(answer.status == 101 && answer["upgrade"] == "websocket")
      #expect(try client.take(5) == Array("first".utf8))
      for round in 0..<20 as Range<UInt8> {
        try client.socket.write([round, 255])
        #expect(try backend.take(2) == [round, 255])
        try backend.socket.write([round])
        #expect(try client.take(1) == [round])
      }
      // The request is over, the connection isn't.
      #expect(try lab.count(.connections) == 1 && lab.count(.requests) == 0)
      client.socket.endWriting()
      #expect(try backend.readToEnd() == [])
      backend.close()
      #expect(try client.readToEnd() == [])
      client.close()
      try lab.finish()
    }

    @Test func aRefusedUpgradeIsAnAnswerLikeOthers() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.get("/chat", "Connection: Upgrade", "Upgrade: websocket")
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.respond(426, "no")
      #expect(try client.read().status == 426)
      try client.get("/next")
      #expect(try backend.read()["upgrade"] == nil)
      try backend.respond(200, "next")
      #expect(try client.read().text == "next")
      client.close()
      try lab.finish()
    }
  }
}
