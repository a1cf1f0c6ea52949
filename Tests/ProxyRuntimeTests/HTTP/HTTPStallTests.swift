import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// The time of a try is for the whole response: a server that stalls in the middle of one has failed.
  @Suite struct HTTPStallTests {
    private func lab(_ speaking: String, byRoute: Bool, perTry: UInt32 = 900) throws -> HTTPLab {
      var rule = RouteRule.to("web")
      rule.backendRequestTimeout = perTry
      return try HTTPLab(
        speaking: speaking, routes: byRoute ? [.web([rule])] : [],
        policies: [
          .web {
            if !byRoute { $0.timeouts = Timeouts(perTry: perTry) }
            $0.retry = RetryPolicy(attempts: 2, backoff: 5, maximumBackoff: 10)
            $0.outlierDetection = OutlierDetection(
              consecutiveErrors: 1, baseEjectionTime: 60_000, maximumEjectionPercent: 100)
          }
        ])
    }

    /// Above a second it is the loop's timer that looks.
    @Test(arguments: [(false, 900), (true, 900), (false, 1100)])
    func aResponseThatStalls(byRoute: Bool, perTry: UInt32) throws {
      let lab = try lab("http", byRoute: byRoute, perTry: perTry)
      let client = try lab.connect()
      try client.get()
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
      #expect(try client.readHead().status == 200)
      #expect(try client.take(4) == Array("half".utf8))
      #expect(client.socket.receiveError() == ECONNRESET)
      #expect(backend.socket.receiveError() != EAGAIN)
      #expect(lab.node.logged("broken off UT"))
      #expect(try eventually { try lab.ejected() == 1 })
      // Not tried again: its client has a part.
      #expect(try lab.node.on { $0.statistics.retries } == 0)
      client.close()
      backend.close()
      try lab.finish()
    }

    @Test(arguments: [900, 1100]) func aStreamThatStalls(perTry: UInt32) throws {
      let lab = try lab("http2", byRoute: false, perTry: perTry)
      let client = try lab.talk()
      let id = try client.request()
      let backend = try lab.listen()
      let stream = try backend.nextRequest()
      try backend.respond(stream, body: "half", end: false)
      let answer = try client.answer(to: id)
      #expect(answer.status == 200 && answer.text == "half" && !answer.hasEnded)
      #expect(answer.reset == HTTP2ErrorCode.internalError.rawValue)
      try backend.read { $0.messages[stream]?.reset != nil }
      #expect(lab.node.logged("broken off UT"))
      #expect(try eventually { try lab.ejected() == 1 })
      client.peer.close()
      try lab.finish()
    }

    /// Bytes that go on coming are no excuse.
    @Test func aResponseWithoutEnd() throws {
      let lab = try lab("http", byRoute: false)
      let client = try lab.connect()
      try client.get()
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
      _ = try client.readHead()
      var rounds = 0
      while rounds < 1000, (try? backend.write("x")) != nil {
        usleep(10_000)
        rounds += 1
      }
      #expect(rounds < 1000)
      #expect(lab.node.logged("broken off UT"))
      client.close()
      backend.close()
      try lab.finish()
    }
  }
}
