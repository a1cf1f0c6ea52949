import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Copies of requests count as their Service's requests and connections, and wait for nothing.
  @Suite struct MirrorPlaceTests {
    private func lab(_ breaker: CircuitBreaker, speaking: String = "http") throws -> HTTPLab {
      let copy = Mirror(service: HTTPLab.key("copy"), port: 80)
      return try HTTPLab(
        others: ["copy"], speaking: speaking, routes: [.web([.to("web", filters: [.mirror(copy)])])],
        policies: [
          .of("copy") {
            $0.circuitBreaker = breaker
            $0.timeouts = Timeouts(connect: 20_000)
          }
        ])
    }

    @Test(arguments: [CircuitBreaker(maxRequests: 1), CircuitBreaker(maxConnections: 1)])
    func noneIsSentWhereThereIsNoRoom(breaker: CircuitBreaker) throws {
      let lab = try lab(breaker)
      let client = try lab.connect()
      func ask(_ path: String, _ backend: HTTPPeer?) throws -> HTTPPeer {
        try client.get(path)
        let backend = try backend ?? lab.accept()
        #expect(try backend.read().target == path)
        try backend.respond(200, path)
        #expect(try client.read().text == path)
        return backend
      }
      let backend = try ask("/0", nil)
      let copies = try lab.accept("copy")
      #expect(try copies.read().target == "/0")
      #expect(try lab.count(.requests, of: "copy") == 1 && lab.count(.connections, of: "copy") == 1)
      for round in 1..<4 { _ = try ask("/\(round)", backend) }
      #expect(try lab.count(.requests, of: "copy") == 1 && lab.count(.pending, of: "copy") == 0)
      #expect(copies.isSilent())
      try copies.respond(200, "unseen")
      #expect(try eventually { try lab.count(.requests, of: "copy") == 0 })
      // There is room again.
      _ = try ask("/4", backend)
      #expect(try copies.read().target == "/4")
      copies.close()
      #expect(try eventually { try lab.isFree("copy") })
      client.close()
      try lab.finish()
    }

    /// Over HTTP/2 too a copy doesn't wait until others end.
    @Test func noneWaitsForAStream() throws {
      let lab = try lab(CircuitBreaker(maxConnections: 1), speaking: "http2")
      let client = try lab.talk()
      var backend: HTTP2Talker?
      func ask(_ path: String) throws {
        let id = try client.request("GET", path)
        let talker = try backend ?? lab.listen()
        backend = talker
        try talker.respond(try talker.nextRequest(), body: path)
        #expect(try client.answer(to: id).text == path)
      }
      try ask("/0")
      let copies = try HTTP2Talker(try lab.accept("copy"), .server, streams: 1)
      try copies.respond(try copies.nextRequest(), body: "unseen")
      #expect(try eventually { try lab.count(.requests, of: "copy") == 0 })
      try ask("/1")
      let stream = try copies.nextRequest()
      for round in 2..<5 { try ask("/\(round)") }
      #expect(try lab.count(.pending, of: "copy") == 0 && lab.count(.requests, of: "copy") == 1)
      try copies.respond(stream, body: "unseen")
      #expect(try eventually { try lab.count(.requests, of: "copy") == 0 })
      try ask("/5")
      let last = try copies.nextRequest()
      #expect(copies.messages[last]?[":path"] == "/5")
      copies.peer.reset()
      #expect(try eventually { try lab.isFree("copy") })
      client.peer.close()
      try lab.finish()
    }
  }
}
