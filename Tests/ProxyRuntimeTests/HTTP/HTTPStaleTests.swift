import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// A connection that its server closed meanwhile is told from a server that dies of each request.
  @Suite struct HTTPStaleTests {
    private func lab(_ backends: Int = 1, percent: UInt32 = 100) throws -> HTTPLab {
      try HTTPLab(
        backends: backends,
        policies: [
          .web {
            $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
            $0.locality = Locality(isPreferred: false, panicThreshold: 0)
            $0.outlierDetection = OutlierDetection(
              consecutiveErrors: 1, baseEjectionTime: 60_000, maximumEjectionPercent: percent)
          }
        ])
    }

    @Test func itIsReplayedOnceOverAFreshConnection() throws {
      let lab = try lab()
      // Two idle connections, so that a second stale one is there for the replay.
      let clients = try (0..<2).map { _ in try lab.connect() }
      for client in clients { try client.get("/warm") }
      let backends = try clients.map { _ in try lab.accept() }
      for backend in backends {
        _ = try backend.read()
        try backend.respond(200, "warm")
      }
      for client in clients { #expect(try client.read().text == "warm") }
      try clients[0].get("/replayed")
      var polls = backends.map { pollfd(fd: $0.socket.fd, events: Int16(POLLIN), revents: 0) }
      #expect(poll(&polls, 2, 10_000) == 1)
      let index = try #require(polls.firstIndex { $0.revents != 0 })
      #expect(try backends[index].read().target == "/replayed")
      backends[index].close()
      let fresh = try lab.accept()
      #expect(try fresh.read().target == "/replayed")
      #expect(backends[1 - index].isSilent(for: 0))
      try fresh.respond(200, "fine")
      #expect(try clients[0].read().text == "fine")
      #expect(try lab.ejected() == 0)
      #expect(try lab.node.on { $0.statistics.retries } == 0)
      for client in clients { client.close() }
      try lab.finish()
    }

    @Test func aServerThatDiesOfEachRequest() throws {
      let lab = try lab(2, percent: 50)
      let origin = LabOrigin(lab) { $0.endpoint == 1 && $0.number > 0 ? .reset : .answer() }
      let client = try lab.connect()
      for _ in 0..<2 { #expect(try client.ask().status == 200) }
      #expect(origin.counts.requests == [1, 1])
      var failures = 0
      for _ in 0..<12 {
        let answer = try client.ask()
        if answer.isRefusal(503, "UC") { failures += 1 } else { #expect(answer.status == 200) }
      }
      // Over the idle connection, and over a fresh one: then it is out.
      #expect(failures == 1 && origin.counts.requests[1] == 3)
      #expect(try lab.ejected() == 1)
      client.close()
      origin.stop()
      try lab.finish()
    }

    @Test func aPOSTIsNotReplayed() throws {
      let lab = try lab()
      let client = try lab.connect()
      try client.get("/warm")
      let backend = try lab.accept()
      _ = try backend.read()
      try backend.respond(200, "warm")
      #expect(try client.read().text == "warm")
      try client.post("/once", "content")
      #expect(try backend.read().text == "content")
      backend.close()
      #expect(try client.read().isRefusal(503, "UC"))
      #expect(lab.isLeftAlone())
      client.close()
      try lab.finish()
    }

    /// A gRPC call is a POST: after a reset nobody knows whether it was carried out.
    @Test(arguments: [false, true]) func aCallThatIsReset(retriesAll: Bool) throws {
      let lab = try HTTPLab(
        speaking: "grpc",
        policies: [
          .web {
            $0.retry = RetryPolicy(
              attempts: 2, onReset: true, retriesNonIdempotent: retriesAll, backoff: 5, maximumBackoff: 10)
          }
        ])
      let client = try lab.talk()
      let call = try client.request("POST", "/s/m", ["content-type: application/grpc"])
      let backend = try lab.listen()
      try backend.reset(try backend.nextRequest(), .internalError)
      if retriesAll {
        try backend.respond(
          try backend.nextRequest(), 200, ["content-type: application/grpc", "grpc-status: 0"])
        #expect(try client.answer(to: call)["grpc-status"] == "0")
      } else {
        #expect(try client.answer(to: call)["grpc-status"] == "14")
        try backend.readSome()
        #expect(backend.streams.count == 1)
      }
      client.peer.close()
      try lab.finish()
    }
  }
}
