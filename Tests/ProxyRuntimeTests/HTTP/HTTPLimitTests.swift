import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Circuit breakers, rate limits and injected faults.
  @Suite struct HTTPLimitTests {
    private func refusal(_ message: HTTPPeer.Message, _ status: Int, _ flag: String) -> Bool {
      message.status == status && message["weft-reason"]?.hasPrefix("\(flag): ") == true
    }

    @Test func maxRequests() throws {
      let lab = try HTTPLab(policies: [.web { $0.circuitBreaker = CircuitBreaker(maxRequests: 2) }])
      let clients = try (0..<3).map { _ in try lab.connect() }
      try clients[0].get("/0")
      let backend = try lab.accept()
      #expect(try backend.read().target == "/0")
      try clients[1].get("/1")
      let other = try lab.accept()
      #expect(try other.read().target == "/1")
      try clients[2].get("/2")
      #expect(refusal(try clients[2].read(), 503, "UO"))
      try backend.respond(200, "0")
      #expect(try clients[0].read().text == "0")
      // Its place is free.
      try clients[2].get("/3")
      #expect(try backend.read().target == "/3")
      try backend.respond(200, "3")
      #expect(try clients[2].read().text == "3")
      try other.respond(200, "1")
      #expect(try clients[1].read().text == "1")
      for client in clients { client.close() }
      try lab.finish()
    }

    @Test func maxConnectionsAndMaxPending() throws {
      let lab = try HTTPLab(policies: [.web { $0.circuitBreaker = CircuitBreaker(maxConnections: 1, maxPending: 1) }])
      let clients = try (0..<3).map { _ in try lab.connect() }
      try clients[0].get("/0")
      let backend = try lab.accept()
      #expect(try backend.read().target == "/0")
      try clients[1].get("/1")
      #expect(try eventually { try lab.count(.pending) == 1 })
      #expect(lab.isLeftAlone())
      try clients[2].get("/2")
      #expect(refusal(try clients[2].read(), 503, "UO"))
      try backend.respond(200, "0")
      #expect(try clients[0].read().text == "0")
      #expect(try backend.read().target == "/1")
      #expect(try lab.count(.pending) == 0)
      try backend.respond(200, "1")
      #expect(try clients[1].read().text == "1")
      // Who waits gets the place of a connection that ends, too.
      try clients[0].get("/3")
      _ = try backend.read()
      try clients[1].get("/4")
      #expect(try eventually { try lab.count(.pending) == 1 })
      try backend.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n3")
      #expect(try clients[0].read().text == "3")
      let second = try lab.accept()
      #expect(try second.read().target == "/4")
      try second.respond(200, "4")
      #expect(try clients[1].read().text == "4")
      for client in clients { client.close() }
      try lab.finish()
    }

    /// What comes behind a response belongs to no request, whoever waits for the connection.
    @Test func bytesBehindAnAnswerReachNobody() throws {
      let lab = try HTTPLab(policies: [.web { $0.circuitBreaker = CircuitBreaker(maxConnections: 1) }])
      let first = try lab.connect()
      try first.get("/1")
      let backend = try lab.accept()
      _ = try backend.read()
      let second = try lab.connect()
      try second.get("/2")
      #expect(try eventually { try lab.count(.pending) == 1 })
      try backend.write(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
      #expect(try first.read().text == "1")
      let next = try lab.accept()
      #expect(try next.read().target == "/2")
      try next.respond(200, "true")
      #expect(try second.read().text == "true")
      first.close()
      second.close()
      try lab.finish()
    }

    /// An idle connection to one endpoint doesn't keep others from being asked.
    @Test func anIdleConnectionGivesItsPlaceAway() throws {
      let lab = try HTTPLab(
        backends: 2,
        policies: [
          .web {
            $0.circuitBreaker = CircuitBreaker(maxConnections: 1)
            $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
          }
        ])
      let client = try lab.connect()
      var before: Int?
      for round in 0..<6 {
        try client.get("/\(round)")
        let (index, backend) = try lab.acceptAny()
        #expect(index != before)
        before = index
        #expect(try backend.read().target == "/\(round)")
        try backend.respond(200, "\(round)")
        #expect(try client.read().text == "\(round)")
        #expect(try lab.count(.connections) == 1)
      }
      client.close()
      try lab.finish()
    }

    /// The wait for a connection counts for the try's time, and so does what follows it.
    @Test func waitingIsBoundedByTheTrysTime() throws {
      let lab = try HTTPLab(policies: [
        .web {
          $0.circuitBreaker = CircuitBreaker(maxConnections: 1)
          $0.timeouts = Timeouts(perTry: 3000, connect: 20_000)
        }
      ])
      let first = try lab.connect()
      try first.get("/1")
      let backend = try lab.accept()
      _ = try backend.read()
      let second = try lab.connect()
      try second.get("/2")
      #expect(try eventually { try lab.count(.pending) == 1 })
      try backend.respond(200, "1")
      #expect(try first.read().text == "1")
      #expect(try backend.read().target == "/2")
      // Never answered.
      #expect(refusal(try second.read(), 504, "UT"))
      first.close()
      second.close()
      try lab.finish()
    }

    @Test func waitingIsBoundedByTheConnectTime() throws {
      let lab = try HTTPLab(policies: [
        .web {
          $0.circuitBreaker = CircuitBreaker(maxConnections: 1)
          $0.timeouts = Timeouts(connect: 60)
        }
      ])
      let first = try lab.connect()
      try first.get("/1")
      let backend = try lab.accept()
      _ = try backend.read()
      let second = try lab.connect()
      try second.get("/2")
      #expect(refusal(try second.read(), 503, "UO"))
      try backend.respond(200, "1")
      #expect(try first.read().text == "1")
      first.close()
      second.close()
      try lab.finish()
    }

    @Test func aClientThatLeavesWhileItWaits() throws {
      let lab = try HTTPLab(policies: [.web { $0.circuitBreaker = CircuitBreaker(maxConnections: 1, maxPending: 1) }])
      let first = try lab.connect()
      try first.get("/1")
      let backend = try lab.accept()
      _ = try backend.read()
      for _ in 0..<5 {
        let waiting = try lab.connect()
        try waiting.get("/2")
        #expect(try eventually { try lab.count(.pending) == 1 })
        waiting.reset()
        #expect(try eventually { try lab.count(.pending) == 0 })
      }
      try backend.respond(200, "1")
      #expect(try first.read().text == "1")
      #expect(backend.isSilent())
      first.close()
      try lab.finish()
    }

    @Test func aRateLimitSaysWhenToComeBack() throws {
      let lab = try HTTPLab(policies: [
        .web { $0.rateLimits = [RateLimit(keys: [.header("x-user")], requests: 1, interval: 100_000, burst: 2)] }
      ])
      let client = try lab.connect()
      try client.get("/", "X-User: a")
      let backend = try lab.accept()
      for round in 0..<2 {
        if round > 0 { try client.get("/", "X-User: a") }
        _ = try backend.read()
        try backend.respond(200, "fine")
        #expect(try client.read().text == "fine")
      }
      for _ in 0..<3 {
        try client.get("/", "X-User: a")
        let answer = try client.read()
        #expect(refusal(answer, 429, "RL"))
        let wait = try #require(answer["retry-after"].flatMap { Int($0) })
        #expect(90...100 ~= wait)
      }
      // Another has a bucket of its own.
      try client.get("/", "X-User: b")
      _ = try backend.read()
      try backend.respond(200, "fine")
      #expect(try client.read().status == 200)
      client.close()
      try lab.finish()
    }

    @Test func anInjectedDelay() throws {
      let lab = try HTTPLab(policies: [.web { $0.faults = [Fault(effect: .delay(80))] }])
      let client = try lab.connect()
      let began = EventLoop.clock()
      try client.post("/", "body")
      let backend = try lab.accept()
      #expect(try backend.read().text == "body")
      #expect(EventLoop.clock() - began >= .milliseconds(75))
      try backend.respond(200, "late")
      #expect(try client.read().text == "late")
      client.close()
      // One that leaves meanwhile is forgotten.
      let leaving = try lab.connect()
      try leaving.get()
      #expect(try eventually { try lab.count(.requests) == 1 })
      leaving.reset()
      #expect(try eventually { try lab.count(.requests) == 0 })
      try lab.finish()
    }

    @Test func anInjectedAbort() throws {
      let lab = try HTTPLab(policies: [
        .web {
          $0.faults = [
            Fault(effect: .delay(20), header: .init(name: "x-fault", value: "both")),
            Fault(effect: .abort(418), header: .init(name: "x-fault", value: "both")),
          ]
        }
      ])
      let client = try lab.connect()
      try client.get("/", "X-Fault: both")
      #expect(refusal(try client.read(), 418, "FI"))
      try client.get("/", "X-Fault: other")
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.respond(200, "fine")
      #expect(try client.read().text == "fine")
      client.close()
      try lab.finish()
    }
  }
}
