import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Tries beyond the first.
  @Suite struct HTTPRetryTests {
    /// One answered request on each, so that the connection to the backend is idle.
    private func warm(_ lab: HTTPLab) throws -> (client: HTTPPeer, backend: HTTPPeer) {
      let client = try lab.connect()
      try client.get("/warm")
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.respond(200, "warm")
      #expect(try client.read().text == "warm")
      return (client, backend)
    }

    @Test func anIdleConnectionThatItsServerClosesFailsNoRequest() throws {
      let lab = try HTTPLab()
      var (client, backend) = try warm(lab)
      // Closed while idle: it is gone before the next request.
      backend.close()
      try client.get("/1")
      backend = try lab.accept()
      #expect(try backend.read().target == "/1")
      try backend.respond(200, "1")
      #expect(try client.read().text == "1")
      // Closed on seeing the next request, as a server does whose timeout strikes just then.
      for round in 2..<6 {
        try client.get("/\(round)")
        #expect(try backend.read().target == "/\(round)")
        if round % 2 == 0 { backend.close() } else { backend.reset() }
        backend = try lab.accept()
        #expect(try backend.read().target == "/\(round)")
        try backend.respond(200, "\(round)")
        #expect(try client.read().text == "\(round)")
      }
      client.close()
      try lab.finish()
    }

    /// That a server ends idle connections says nothing about its health.
    @Test func closedIdleConnectionsEjectNobody() throws {
      let lab = try HTTPLab(policies: [
        .web {
          $0.outlierDetection = OutlierDetection(consecutiveErrors: 1, maximumEjectionPercent: 100)
          $0.locality = Locality(panicThreshold: 0)
        }
      ])
      let (client, backend) = try warm(lab)
      try client.get("/1")
      _ = try backend.read()
      backend.close()
      let second = try lab.accept()
      _ = try second.read()
      try second.respond(200, "1")
      #expect(try client.read().text == "1")
      client.close()
      try lab.finish()
    }

    @Test(arguments: [true, false]) func aPOSTThatIsUnderWayIsNotReplayed(isReused: Bool) throws {
      let lab = try HTTPLab(policies: [.web { $0.retry = .soon }])
      let warmed = isReused ? try warm(lab) : nil
      let client = try warmed?.client ?? lab.connect()
      try client.post("/order", "one")
      let backend = try warmed?.backend ?? lab.accept()
      #expect(try backend.read().text == "one")
      backend.close()
      let answer = try client.read()
      #expect(answer.status == 503 && answer["weft-reason"]?.hasPrefix("UC: ") == true)
      #expect(lab.isLeftAlone())
      client.close()
      try lab.finish()
    }

    @Test func aStatusIsRetriedAfterABackoff() throws {
      let lab = try HTTPLab(policies: [.web { $0.retry = .soon }])
      let client = try lab.connect()
      try client.get("/1", "X-Request-ID: own")
      let backend = try lab.accept()
      for _ in 0..<3 {
        #expect(try backend.read()["x-request-id"] == "own")
        try backend.respond(503, "not yet")
      }
      let last = try backend.read()
      #expect(last.target == "/1" && last.values("x-forwarded-for") == ["127.0.0.1"])
      try backend.respond(200, "at last")
      #expect(try client.read().text == "at last")
      #expect(try lab.node.on { $0.statistics.retries } == 3)
      client.close()
      try lab.finish()
    }

    @Test func theLastAnswerPassesOnceTheTriesAreUsedUp() throws {
      let lab = try HTTPLab(policies: [.web { $0.retry = .soon }])
      let client = try lab.connect()
      try client.get()
      let backend = try lab.accept()
      for round in 0..<4 {
        _ = try backend.read()
        try backend.respond(503, "no \(round)")
      }
      let answer = try client.read()
      #expect(answer.status == 503 && answer.text == "no 3")
      #expect(backend.isSilent())
      client.close()
      try lab.finish()
    }

    @Test func retryAfterIsKept() throws {
      let lab = try HTTPLab(policies: [.web { $0.retry = .soon }])
      let client = try lab.connect()
      try client.get()
      let backend = try lab.accept()
      _ = try backend.read()
      // Longer than anybody's patience: passed on.
      try backend.respond(503, "later", "Retry-After: 3600")
      #expect(try client.read()["retry-after"] == "3600")
      #expect(backend.isSilent())
      client.close()
      try lab.finish()
    }

    @Test func theBudgetBoundsRetries() throws {
      let lab = try HTTPLab(policies: [
        .web {
          $0.retry = .soon
          $0.retryBudget = RetryBudget(percent: 0, minimumRate: 2, minimumInterval: 60_000)
        }
      ])
      let client = try lab.connect()
      try client.get("/1")
      let backend = try lab.accept()
      for _ in 0..<3 {
        _ = try backend.read()
        try backend.respond(503, "no")
      }
      #expect(try client.read().status == 503)
      try client.get("/2")
      #expect(try backend.read().target == "/2")
      try backend.respond(503, "no")
      #expect(try client.read().status == 503)
      #expect(backend.isSilent())
      client.close()
      try lab.finish()
    }

    @Test func maxRetriesBoundsThoseUnderWay() throws {
      let lab = try HTTPLab(policies: [
        .web {
          $0.retry = .soon
          $0.circuitBreaker = CircuitBreaker(maxRetries: 1)
        }
      ])
      let first = try lab.connect()
      try first.get("/1")
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.respond(503, "no")
      _ = try backend.read()
      #expect(try lab.count(.retries) == 1)
      let second = try lab.connect()
      try second.get("/2")
      let other = try lab.accept()
      _ = try other.read()
      try other.respond(503, "no retry")
      #expect(try second.read().text == "no retry")
      try backend.respond(200, "fine")
      #expect(try first.read().text == "fine")
      #expect(try lab.count(.retries) == 0)
      first.close()
      second.close()
      try lab.finish()
    }

    @Test(arguments: [(1000, true), (1001, false)]) func aBodyIsReplayedWithinTheLimit(size: Int, isRetried: Bool)
      throws
    {
      var policy = RetryPolicy.soon
      policy.bufferLimit = 1000
      let lab = try HTTPLab(policies: [.web { $0.retry = policy }])
      let client = try lab.connect()
      let body = String(repeating: "abcdefghij", count: 101).prefix(size)
      try client.write("PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: \(size)\r\n\r\n\(body)")
      let backend = try lab.accept()
      #expect(try backend.read().text == body)
      try backend.respond(503, "first")
      if isRetried {
        #expect(try backend.read().text == body)
        try backend.respond(200, "second")
      }
      #expect(try client.read().text == (isRetried ? "second" : "first"))
      client.close()
      try lab.finish()
    }

    /// An answer of the first try may come before the request is whole.
    @Test func aBodyThatGoesOnOverTheRetry() throws {
      let lab = try HTTPLab(policies: [.web { $0.retry = .soon }])
      let client = try lab.connect()
      try client.write("PUT / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
      let first = try lab.accept()
      _ = try first.readHead()
      #expect(try first.take(8) == Array("3\r\nabc\r\n".utf8))
      try first.respond(503, "too early")
      let second = try lab.accept()
      _ = try second.readHead()
      #expect(try second.take(8) == Array("3\r\nabc\r\n".utf8))
      try client.write("2\r\nde\r\n0\r\n\r\n")
      #expect(try second.take(12) == Array("2\r\nde\r\n0\r\n\r\n".utf8))
      try second.respond(200, "whole")
      #expect(try client.read().text == "whole")
      client.close()
      try lab.finish()
    }

    @Test func anEndpointThatRefusesIsPassedOver() throws {
      let lab = try HTTPLab(backends: 1, dead: 2)
      let client = try lab.connect()
      var backend: HTTPPeer?
      for round in 0..<10 {
        // Also a POST: nothing of it has gone out.
        try client.post("/\(round)", "body")
        if backend == nil { backend = try lab.accept() }
        #expect(try backend?.read().text == "body")
        try backend?.respond(200, "\(round)")
        #expect(try client.read().text == "\(round)")
      }
      client.close()
      try lab.finish()
    }

    /// All of a body is kept until a try has taken it, also what is beyond the limit.
    @Test func aLongBodyPassesOverAnEndpointThatRefuses() throws {
      let lab = try HTTPLab(
        backends: 1, dead: 2,
        policies: [
          .web {
            $0.retry = RetryPolicy(attempts: 2, bufferLimit: 10)
            $0.retryBudget = RetryBudget(minimumRate: 1000)
          }
        ])
      let size = 300_000
      var backend: HTTPPeer?
      for round in 0..<12 {
        let client = try lab.connect()
        try client.write("POST /\(round) HTTP/1.1\r\nHost: web\r\nContent-Length: \(size)\r\n\r\n0123456789ab")
        let socket = client.socket
        let writing = inBackground { try socket.write(pattern(size - 12)) }
        if backend == nil { backend = try lab.accept() }
        let request = try #require(try backend?.read())
        #expect(request.target == "/\(round)" && request.body == Array("0123456789ab".utf8) + pattern(size - 12))
        try backend?.respond(200, "\(round)")
        #expect(try client.read().text == "\(round)")
        try writing.get()
        client.close()
      }
      try lab.finish()
    }

    @Test func noEndpointAnswers() throws {
      let lab = try HTTPLab(backends: 0, dead: 3, policies: [.web { _ in }])
      let client = try lab.connect()
      try client.get()
      let answer = try client.read()
      #expect(answer.status == 503 && answer["weft-reason"]?.hasPrefix("URX: ") == true)
      try lab.change { $0.removedWorkloads = (0..<3).map { "shop/web-\($0)" } }
      try client.get()
      let second = try client.read()
      #expect(second.status == 503 && second["weft-reason"]?.hasPrefix("UH: ") == true)
      client.close()
      try lab.finish()
    }
  }
}
