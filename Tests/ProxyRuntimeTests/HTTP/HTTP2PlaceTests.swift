import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Connections of HTTP/2 to endpoints have places among those that the breaker allows; what they can't take waits.
  @Suite struct HTTP2PlaceTests {
    private func lab(
      _ breaker: CircuitBreaker, backends: Int = 1, workers: Int = 1, connect: UInt32 = 20_000
    ) throws -> HTTPLab {
      try HTTPLab(
        backends: backends, speaking: "http2",
        policies: [
          .web {
            $0.circuitBreaker = breaker
            $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
            $0.timeouts = Timeouts(connect: connect)
          }
        ], workers: workers)
    }

    /// After one request: each side knows the other's settings.
    private func warm(_ lab: HTTPLab, streams: Int) throws -> (client: HTTP2Talker, backend: HTTP2Talker) {
      let client = try lab.talk()
      let id = try client.request("GET", "/warm")
      let backend = try lab.listen(streams: streams)
      try backend.respond(try backend.nextRequest(), body: "warm")
      #expect(try client.answer(to: id).text == "warm")
      return (client, backend)
    }

    private func isRefused(_ message: HTTP2Talker.Message) -> Bool {
      message.status == 503 && message["weft-reason"]?.hasPrefix("UO: ") == true
    }

    @Test func whatAConnectionCantTakeWaits() throws {
      let lab = try lab(CircuitBreaker(maxConnections: 1))
      let (client, backend) = try warm(lab, streams: 2)
      let ids = try (0..<6).map { try client.request("GET", "/\($0)") }
      var under = [try backend.nextRequest(), try backend.nextRequest()]
      #expect(try eventually { try lab.count(.pending) == 4 })
      #expect(lab.isLeftAlone())
      for round in 0..<6 {
        let stream = under.removeFirst()
        try backend.respond(stream, body: backend.messages[stream]?[":path"])
        #expect(try client.answer(to: ids[round]).text == "/\(round)")
        if round < 4 { under.append(try backend.nextRequest()) }
        #expect(try lab.count(.connections) == 1 && lab.count(.pending) == max(0, 3 - round))
      }
      client.peer.close()
      try lab.finish()
    }

    @Test func noMoreWaitThanMay() throws {
      let lab = try lab(CircuitBreaker(maxConnections: 1, maxPending: 1))
      let (client, backend) = try warm(lab, streams: 1)
      let first = try client.request("GET", "/0")
      let stream = try backend.nextRequest()
      let second = try client.request("GET", "/1")
      #expect(try eventually { try lab.count(.pending) == 1 })
      #expect(isRefused(try client.answer(to: try client.request("GET", "/2"))))
      try backend.respond(stream, body: "0")
      #expect(try client.answer(to: first).text == "0")
      try backend.respond(try backend.nextRequest(), body: "1")
      #expect(try client.answer(to: second).text == "1")
      client.peer.close()
      try lab.finish()
    }

    /// Those who came while it was being opened wait like others once it turns out that it has no room for them.
    @Test func aNewConnectionHasTooLittleRoom() throws {
      let lab = try lab(CircuitBreaker(maxConnections: 1, maxPending: 10))
      lab.node.answersRequests.store(false, ordering: .relaxed)
      let client = try lab.talk()
      let ids = try (0..<150).map { try client.request("GET", "/\($0)") }
      #expect(try eventually { try lab.count(.requests) == 150 })
      #expect(try lab.count(.pending) == 0)
      lab.node.post(.sockets(id: "shop/a", kind: .egressV4, [try TestSocket.pooled()]))
      let backend = try lab.listen()
      #expect(try eventually { try lab.count(.requests) == 110 && lab.count(.pending) == 10 })
      for _ in 0..<110 { try backend.respond(try backend.nextRequest(), body: "fine") }
      var counts = (served: 0, refused: 0)
      for id in ids {
        let answer = try client.answer(to: id)
        if answer.text == "fine" { counts.served += 1 } else if isRefused(answer) { counts.refused += 1 }
      }
      #expect(counts == (110, 40))
      client.peer.close()
      try lab.finish()
    }

    @Test func anIdleConnectionMakesRoomForAnotherEndpoint() throws {
      let lab = try lab(CircuitBreaker(maxConnections: 1), backends: 2)
      let client = try lab.talk()
      var before: (index: Int, talker: HTTP2Talker)?
      for round in 0..<6 {
        let id = try client.request("GET", "/\(round)")
        let (index, peer) = try lab.acceptAny()
        let backend = try HTTP2Talker(peer, .server)
        try backend.respond(try backend.nextRequest(), body: "\(round)")
        #expect(try client.answer(to: id).text == "\(round)")
        #expect(try lab.count(.connections) == 1)
        if let before {
          #expect(before.index != index)
          try before.talker.read(until: \.isAtEnd)
        }
        before = (index, backend)
      }
      client.peer.close()
      try lab.finish()
    }

    /// One waits for a place and leaves; the place that is free then is another's, at another endpoint.
    @Test func whoHasLeftKeepsNoPlaceFromOthers() throws {
      let lab = try lab(CircuitBreaker(maxConnections: 1), backends: 3)
      let client = try lab.talk()
      let first = try client.request("GET", "/first")
      let (index, peer) = try lab.acceptAny()
      let backend = try HTTP2Talker(peer, .server)
      let stream = try backend.nextRequest()
      let left = try client.request("GET", "/left")
      #expect(try eventually { try lab.count(.pending) == 1 })
      try client.reset(left)
      #expect(try eventually { try lab.count(.pending) == 0 && lab.count(.requests) == 1 })
      let last = try client.request("GET", "/last")
      #expect(try eventually { try lab.count(.pending) == 1 })
      try backend.respond(stream, body: "first")
      #expect(try client.answer(to: first).text == "first")
      let (other, otherPeer) = try lab.acceptAny()
      #expect(other != index)
      let second = try HTTP2Talker(otherPeer, .server)
      let late = try second.nextRequest()
      #expect(second.messages[late]?[":path"] == "/last")
      try second.respond(late, body: "last")
      #expect(try client.answer(to: last).text == "last")
      client.peer.close()
      try lab.finish()
    }

    @Test func anIdleConnectionMakesRoomForAnotherWorker() throws {
      let lab = try lab(CircuitBreaker(maxConnections: 1), workers: 2)
      let (first, idle) = try warm(lab, streams: 100)
      let second = try lab.talk(worker: 1)
      let id = try second.request("GET", "/other")
      let backend = try lab.listen()
      try backend.respond(try backend.nextRequest(), body: "other")
      #expect(try second.answer(to: id).text == "other")
      try idle.read(until: \.isAtEnd)
      #expect(try lab.count(.connections) == 1 && lab.count(.pending) == 0)
      first.peer.close()
      second.peer.close()
      try lab.finish()
    }

    /// A second connection can't be had: those who wait for it are served by the first.
    @Test func aFailedConnectFailsNobodyWhoCanBeServed() throws {
      let lab = try lab(CircuitBreaker())
      let (client, backend) = try warm(lab, streams: 1)
      shutdown(lab.backends[0].fd, Int32(SHUT_RD))
      let ids = try (0..<4).map { try client.request("GET", "/\($0)") }
      #expect(try eventually { try lab.count(.pending) == 3 })
      for id in ids {
        try backend.respond(try backend.nextRequest(), body: "fine")
        #expect(try client.answer(to: id).text == "fine")
      }
      client.peer.close()
      try lab.finish()
    }

    /// It breaks while others wait for its streams, with no other to come: another is opened for them.
    @Test func whoWaitsForAConnectionThatBreaks() throws {
      let lab = try lab(CircuitBreaker(maxConnections: 1))
      let (client, backend) = try warm(lab, streams: 1)
      let post = try client.request("POST", "/lost")
      _ = try backend.nextRequest()
      let waiting = try client.request("GET", "/waiting")
      #expect(try eventually { try lab.count(.pending) == 1 })
      backend.peer.reset()
      #expect(try client.answer(to: post).status == 503)
      let second = try lab.listen()
      let stream = try second.nextRequest()
      #expect(second.messages[stream]?[":path"] == "/waiting")
      try second.respond(stream, body: "fine")
      #expect(try client.answer(to: waiting).text == "fine")
      client.peer.close()
      try lab.finish()
    }
  }
}
