import CLinux
import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// HTTP/2 on both sides, and gRPC over it.
  @Suite struct HTTP2ConnectionTests {
    private func joined(_ lab: HTTPLab) throws -> (client: HTTP2Talker, backend: HTTP2Talker) {
      let client = try HTTP2Talker(lab.connect(), .client)
      try client.request("GET", "/warm")
      let backend = try HTTP2Talker(lab.accept(), .server)
      let stream = try backend.nextRequest()
      try backend.respond(stream, body: "warm")
      #expect(try client.answer(to: 1).text == "warm")
      return (client, backend)
    }

    @Test func manyStreamsShareOneConnection() throws {
      let lab = try HTTPLab(speaking: "kubernetes.io/h2c")
      let (client, backend) = try joined(lab)
      let ids = try (0..<50).map { try client.request("POST", "/\($0)", end: false) }
      for (index, id) in ids.enumerated() { try client.send(id, Array("body \(index)".utf8), end: true) }
      let streams = try ids.map { _ in try backend.nextRequest() }
      // Answered in another order than they were asked.
      for stream in streams.reversed() {
        let request = try #require(backend.messages[stream])
        #expect(request["x-forwarded-for"] == "127.0.0.1")
        try backend.respond(stream, 200, ["x-path: \(request[":path"]!)"], body: request.text)
      }
      for (index, id) in ids.enumerated() {
        let answer = try client.answer(to: id)
        #expect(answer.text == "body \(index)" && answer["x-path"] == "/\(index)")
      }
      #expect(lab.isLeftAlone(for: 0))
      client.peer.close()
      try lab.finish()
    }

    /// A gRPC call's status stands in its trailers; a failure without a message is a head alone.
    @Test func trailersAndTrailersOnly() throws {
      let lab = try HTTPLab(speaking: "grpc", policies: [.web { _ in }])
      let (client, backend) = try joined(lab)
      let call = try client.request("POST", "/s/m", ["content-type: application/grpc", "te: trailers"])
      var stream = try backend.nextRequest()
      #expect(backend.messages[stream]?["te"] == "trailers")
      try backend.respond(stream, 200, ["content-type: application/grpc"], body: "message", end: false)
      try backend.sendTrailers(stream, ["grpc-status: 0"])
      let answer = try client.answer(to: call)
      #expect(answer.text == "message" && answer.trailers == ["grpc-status: 0"])
      let failing = try client.request("POST", "/s/m", ["content-type: application/grpc"])
      stream = try backend.nextRequest()
      try backend.respond(stream, 200, ["content-type: application/grpc", "grpc-status: 5"])
      let failure = try client.answer(to: failing)
      #expect(failure.wasHeadOnly && failure["grpc-status"] == "5")
      // The proxy's own refusals too.
      try lab.change { $0.removedWorkloads = ["shop/web-0"] }
      let refused = try client.request("POST", "/s/m", ["content-type: application/grpc"])
      let refusal = try client.answer(to: refused)
      #expect(refusal.wasHeadOnly && refusal.status == 200 && refusal["grpc-status"] == "14")
      #expect(refusal["weft-reason"]?.hasPrefix("UH: ") == true)
      client.peer.close()
      try lab.finish()
    }

    @Test func aGRPCStatusIsRetried() throws {
      let lab = try HTTPLab(
        speaking: "grpc",
        policies: [
          .web { $0.retry = RetryPolicy(attempts: 2, statuses: [], backoff: 5, maximumBackoff: 10) }
        ])
      let (client, backend) = try joined(lab)
      let call = try client.request("POST", "/s/m", ["content-type: application/grpc"], end: false)
      try client.send(call, Array("message".utf8), end: true)
      for _ in 0..<2 {
        let stream = try backend.nextRequest()
        #expect(backend.messages[stream]?.text == "message")
        try backend.respond(stream, 200, ["content-type: application/grpc", "grpc-status: 14"])
      }
      let stream = try backend.nextRequest()
      try backend.respond(stream, 200, ["content-type: application/grpc"], body: "done", end: false)
      try backend.sendTrailers(stream, ["grpc-status: 0"])
      #expect(try client.answer(to: call).text == "done")
      client.peer.close()
      try lab.finish()
    }

    @Test func aResetOfTheClientsReachesTheServer() throws {
      let lab = try HTTPLab(speaking: "http2", policies: [.web { $0.circuitBreaker = CircuitBreaker(maxRequests: 1) }])
      let (client, backend) = try joined(lab)
      for _ in 0..<20 {
        let id = try client.request()
        let stream = try backend.nextRequest()
        try client.reset(id)
        try backend.read { $0.messages[stream]?.reset != nil }
        #expect(try lab.count(.requests) == 0)
      }
      // A connection that breaks ends all of its streams.
      _ = try client.request()
      let stream = try backend.nextRequest()
      client.peer.reset()
      try backend.read { $0.messages[stream]?.reset != nil }
      try lab.finish()
    }

    @Test func aStreamTheServerRefusesIsTriedAgain() throws {
      let lab = try HTTPLab(speaking: "http2")
      let (client, backend) = try joined(lab)
      // Also a POST: nothing has been done with it.
      let id = try client.request("POST", "/", end: false)
      try client.send(id, Array("body".utf8), end: true)
      let refused = try backend.nextRequest()
      try backend.reset(refused, .refusedStream)
      let stream = try backend.nextRequest()
      #expect(backend.messages[stream]?.text == "body")
      try backend.respond(stream, body: "second")
      #expect(try client.answer(to: id).text == "second")
      // Any other reset isn't.
      let lost = try client.request("POST", "/", end: true)
      try backend.reset(try backend.nextRequest(), .internalError)
      #expect(try client.answer(to: lost).status == 503)
      client.peer.close()
      try lab.finish()
    }

    @Test(arguments: [true, false]) func aServerThatGoesAwayFinishesWhatItHas(isIdle: Bool) throws {
      let lab = try HTTPLab(speaking: "http2")
      let (client, backend) = try joined(lab)
      var pending: (id: UInt32, stream: UInt32)?
      if !isIdle { pending = (try client.request("GET", "/last"), try backend.nextRequest()) }
      try backend.goAway()
      try backend.readSome(for: 50)
      // It has been read by now, however late: this runs after what was ready before.
      _ = try lab.node.on { _ in }
      let id = try client.request("GET", "/next")
      let second = try HTTP2Talker(lab.accept(), .server)
      let stream = try second.nextRequest()
      try second.respond(stream, body: "next")
      #expect(try client.answer(to: id).text == "next")
      if let pending {
        try backend.respond(pending.stream, body: "last")
        #expect(try client.answer(to: pending.id).text == "last")
      }
      // Nothing is left to do on it: the proxy closes it, whether its server does or not.
      try backend.read { $0.isAtEnd }
      client.peer.close()
      try lab.finish()
    }

    @Test func aDrainSaysGoAway() throws {
      let lab = try HTTPLab(speaking: "http2")
      let (client, backend) = try joined(lab)
      let id = try client.request()
      let stream = try backend.nextRequest()
      let idle = try HTTP2Talker(lab.connect(), .client)
      try idle.readSome(for: 50)
      lab.node.post(.drain())
      try idle.read { $0.isAtEnd }
      #expect(idle.hasGoAway)
      idle.peer.close()
      try client.read { $0.hasGoAway }
      #expect(!lab.node.isDrained)
      try backend.respond(stream, body: "last")
      #expect(try client.answer(to: id).text == "last")
      try client.read { $0.isAtEnd }
      client.peer.close()
      #expect(eventually { lab.node.isDrained })
      try lab.finish()
    }

    /// A stream whose client reads nothing stops its sender, and no other.
    @Test func aStreamThatIsNotReadHoldsUpNoOther() throws {
      let lab = try HTTPLab(speaking: "http2")
      let (client, backend) = try joined(lab)
      let slow = try client.request("GET", "/slow")
      let stream = try backend.nextRequest()
      client.consumes = false
      try backend.respond(stream, end: false)
      var sent = 0
      var rounds = 0
      while rounds < 20 {
        let count = try backend.send(stream, pattern(32 << 10))
        sent += count
        rounds = count == 0 ? rounds + 1 : 0
        try backend.readSome(for: 5)
        try client.readSome(for: 5)
      }
      // The windows of both sides.
      #expect(sent <= 1 << 20)
      client.consumes = true
      let quick = try client.request("GET", "/quick")
      let other = try backend.nextRequest()
      try backend.respond(other, body: "quick")
      #expect(try client.answer(to: quick).text == "quick")
      try client.reset(slow)
      try backend.read { $0.messages[stream]?.reset != nil }
      client.peer.close()
      try lab.finish()
    }

    @Test func aClientOfHTTP1MeetsAServerOfHTTP2() throws {
      let lab = try HTTPLab(speaking: "http2")
      let client = try lab.connect()
      try client.post("/1", "body", "X-Case: Kept")
      let backend = try HTTP2Talker(lab.accept(), .server)
      let stream = try backend.nextRequest()
      let request = try #require(backend.messages[stream])
      #expect(request.text == "body" && request["x-case"] == "Kept" && request[":method"] == "POST")
      #expect(request["connection"] == nil && request["host"] == nil)
      try backend.respond(stream, 200, ["x: y"], body: "answer")
      let answer = try client.read()
      #expect(answer.text == "answer" && answer["x"] == "y" && answer["transfer-encoding"] == "chunked")
      // And a head alone is an answer that ends.
      try client.get("/2")
      try backend.respond(try backend.nextRequest(), 404)
      #expect(try client.read()["content-length"] == "0")
      client.close()
      try lab.finish()
    }

    /// On a port that says nothing, by the first bytes.
    @Test func theFirstBytesSayTheProtocol() throws {
      let lab = try HTTPLab(speaking: "")
      let (two, _) = try joined(lab)
      let one = try lab.connect()
      try one.get("/one")
      let backend = try lab.accept()
      #expect(try backend.read().start == "GET /one HTTP/1.1")
      try backend.respond(200, "one")
      #expect(try one.read().text == "one")
      // Bytes of something else go as they are.
      let other = try lab.connectRaw()
      try other.write([0, 1, 2, 3])
      let opaque = try lab.accept()
      #expect(try opaque.take(4) == [0, 1, 2, 3])
      // And so does a server that speaks first.
      let silent = try lab.connectRaw()
      let greeting = try lab.accept()
      try greeting.write("220 hello\r\n")
      #expect(try silent.read(5) == Array("220 h".utf8))
      two.peer.close()
      one.close()
      other.close()
      silent.close()
      opaque.close()
      greeting.close()
      try lab.finish()
    }
  }
}
