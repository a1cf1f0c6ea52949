import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing
@testable import ProxyRuntime

extension RuntimeTests {
  /// How requests, answers and connections end where one side gives up.
  @Suite struct HTTPEndingTests {
    /// The answer comes although the client is in the middle of a body that nobody reads.
    @Test func aRefusalOfABodyUnderWayIsNotLost() throws {
      let lab = try HTTPLab(routes: [.web([.to("web", path: "/web")])])
      for _ in 0..<3 {
        let client = try lab.connect()
        try client.write("POST /none HTTP/1.1\r\nHost: web\r\nContent-Length: \(4 << 20)\r\n\r\n")
        let socket = client.socket
        let writing = inBackground { try socket.write(pattern(4 << 20)) }
        let answer = try client.read()
        #expect(answer.status == 404 && answer["connection"] == "close")
        // What is still on its way is read and thrown away.
        try writing.get()
        #expect(try client.readToEnd() == [])
        client.close()
      }
      try lab.finish()
    }

    @Test(arguments: [
      "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "no request\r\n\r\n",
    ])
    func whatIsNoRequestIsRefused(text: String) throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.write(text)
      let answer = try client.read()
      #expect(answer.status == 400 && answer["connection"] == "close")
      #expect(try client.readToEnd() == [])
      #expect(lab.isLeftAlone(for: 0))
      client.close()
      try lab.finish()
    }

    @Test(arguments: [true, false]) func aClientThatLeavesMidRequestFreesTheUpstream(isWhole: Bool) throws {
      let lab = try HTTPLab(policies: [.web { $0.circuitBreaker = CircuitBreaker(maxConnections: 1, maxRequests: 1) }])
      for _ in 0..<5 {
        let client = try lab.connect()
        if isWhole {
          try client.get()
        } else {
          try client.write("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\nabc")
        }
        let backend = try lab.accept()
        _ = try backend.readHead()
        #expect(try lab.count(.requests) == 1)
        client.reset()
        #expect(try eventually { try lab.count(.requests) == 0 })
        // Nobody waits for its answer: the server may stop working on it.
        #expect(backend.socket.receiveError() != EAGAIN)
        #expect(try eventually { try lab.count(.connections) == 0 })
      }
      try lab.finish()
    }

    @Test func aLongRestOfAnUnwantedAnswerEndsItsConnection() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.get()
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.write("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\nabc")
      _ = try client.readHead()
      client.reset()
      #expect(try eventually { try lab.node.sessionCount == 0 })
      let socket = backend.socket
      #expect(throws: SystemError.self) { try socket.write(pattern(9_000_000)) }
      backend.close()
      try lab.finish()
    }

    @Test func anAnswerThatBreaksOffBreaksTheClientsOff() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.get()
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
      _ = try client.readHead()
      #expect(try client.take(3) == Array("abc".utf8))
      backend.close()
      // Never a clean end: the client would take what it has for the whole.
      #expect(client.socket.receiveError() == ECONNRESET)
      client.close()
      try lab.finish()
    }

    @Test func whatIsNoAnswerIsA502() throws {
      let lab = try HTTPLab(policies: [.web { _ in }])
      let client = try lab.connect()
      try client.get()
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.write("SSH-2.0-x\r\n\r\n")
      let answer = try client.read()
      #expect(answer.status == 502 && answer["weft-reason"]?.hasPrefix("UPE: ") == true)
      #expect(backend.socket.receiveError() != EAGAIN)
      client.close()
      try lab.finish()
    }

    /// A half-closed client still gets its answers.
    @Test func aClientMayEndItsDirection() throws {
      let lab = try HTTPLab()
      let client = try lab.connect()
      try client.write("GET /1 HTTP/1.1\r\nHost: web\r\n\r\nGET /2 HTTP/1.1\r\nHost: web\r\n\r\n")
      client.socket.endWriting()
      let backend = try lab.accept()
      for round in 1...2 {
        #expect(try backend.read().target == "/\(round)")
        try backend.respond(200, "\(round)")
        #expect(try client.read().text == "\(round)")
      }
      #expect(try client.readToEnd() == [])
      client.close()
      try lab.finish()
    }

    @Test func aDrainEndsConnectionsAfterTheirAnswers() throws {
      let lab = try HTTPLab()
      let idle = try lab.connect()
      try idle.get("/idle")
      let first = try lab.accept()
      _ = try first.read()
      try first.respond(200, "idle")
      #expect(try idle.read().text == "idle")
      let unanswered = try lab.connect()
      try unanswered.get("/unanswered")
      _ = try first.read()
      let begun = try lab.connect()
      try begun.get("/begun")
      let second = try lab.accept()
      _ = try second.read()
      try second.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
      _ = try begun.readHead()
      lab.node.post(.drain())
      #expect(try idle.readToEnd() == [])
      #expect(!lab.node.isDrained)
      try first.respond(200, "done")
      let answer = try unanswered.read()
      #expect(answer.text == "done" && answer["connection"] == "close")
      #expect(try unanswered.readToEnd() == [])
      // Its head had gone before: it couldn't say that the connection ends.
      try second.write("def")
      #expect(try begun.readToEnd() == Array("abcdef".utf8))
      for client in [idle, unanswered, begun] { client.close() }
      #expect(eventually { lab.node.isDrained })
      try lab.finish()
    }

    @Test func nothingLeaksOverManyConnections() throws {
      let lab = try HTTPLab(backends: 2)
      let backends = lab.backends
      let serving = backends.map { backend in
        inBackground {
          while let peer = try? backend.accept() {
            _ = inBackground {
              let peer = HTTPPeer(peer)
              while let request = try? peer.read() { try peer.respond(200, request.target) }
            }
          }
        }
      }
      for round in 0..<300 {
        let client = try lab.connect()
        for request in 0..<3 {
          try client.get("/\(round)/\(request)")
          #expect(try client.read().text == "/\(round)/\(request)")
        }
        if round % 3 == 0 { client.reset() } else { client.close() }
      }
      #expect(lab.node.socketRequests < 6)
      for backend in backends { shutdown(backend.fd, Int32(SHUT_RD)) }
      for server in serving { try server.get() }
      try lab.finish(threads: serving.count)
    }
  }
}
