import Glibc
import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// GOAWAY on either side of the proxy while requests come without a pause.
  @Suite struct HTTP2DrainTests {
    /// What became of one client's requests.
    private struct Outcome: Sendable {
      var answered = 0
      /// The final GOAWAY said that they weren't taken.
      var refused = 0
      var answeredAfterAnnouncement = 0
      var wrong: [String] = []
      var isAtEnd = false
    }

    /// Opens streams, twenty at a time at most, until the connection takes no more or `count` were.
    private static func ask(_ client: Int, at address: SocketAddress, count: Int) throws -> Outcome {
      let talker = try HTTP2Talker(HTTPPeer(.connected(to: address)), .client)
      talker.goesOnWhenAnnounced = true
      var ids: [UInt32] = []
      var announced = Int.max
      var open: Set<UInt32> = []
      while !talker.isAtEnd {
        while talker.acceptsStreams, ids.count < count, open.count < 20 {
          do {
            let id = try talker.request("PUT", "/\(client)/\(ids.count)", end: false)
            ids.append(id)
            open.insert(id)
            try talker.send(id, Array("!".utf8), end: true)
          } catch let error as SystemError where error.code == EPIPE || error.code == ECONNRESET {
            break
          }
        }
        let isOver = !talker.acceptsStreams || ids.count == count
        if isOver, open.isEmpty, count < .max { break }
        _ = try talker.readOne(for: 100)
        open = open.filter { talker.messages[$0].map { !$0.hasEnded && $0.reset == nil } ?? true }
        if talker.hasGoAway, announced == .max { announced = ids.count }
      }
      var outcome = Outcome()
      outcome.isAtEnd = talker.isAtEnd
      for (number, id) in ids.enumerated() {
        guard let message = talker.messages[id], message.hasEnded, message.status == 200 else {
          if id > talker.lastStream {
            outcome.refused += 1
          } else {
            let text = talker.messages[id].map { "\($0)" } ?? "none"
            outcome.wrong.append("\(client)/\(number), stream \(id) of \(talker.lastStream): \(text)")
          }
          continue
        }
        outcome.answered += 1
        if number >= announced { outcome.answeredAfterAnnouncement += 1 }
        if message.text != "/\(client)/\(number)!" { outcome.wrong.append("\(id): \(message.text)") }
      }
      return outcome
    }

    @Test func aDrainLosesNothing() throws {
      let lab = try HTTPLab(backends: 2, speaking: "http2")
      let origin = HTTP2Origin(lab)
      let address = lab.entranceAddresses[0]
      let running = (0..<4).map { client in inBackground { try Self.ask(client, at: address, count: .max) } }
      #expect(eventually { (0..<4).allSatisfy { origin.counts["/\($0)/100"] != nil } })
      lab.node.post(.drain())
      var answered = 0
      for outcome in try running.map({ try $0.get() }) {
        #expect(outcome.wrong == [])
        #expect(outcome.answered > 50 && outcome.answeredAfterAnnouncement > 0)
        #expect(outcome.isAtEnd)
        answered += outcome.answered
      }
      #expect(eventually { lab.node.isDrained })
      // Each was done once, and none that its client doesn't know of.
      #expect(origin.counts.count == answered && origin.counts.values.allSatisfy { $0 == 1 })
      lab.node.post(.removePod(id: "shop/a", runsOn: false))
      #expect(origin.stop() == [])
      try lab.finish(threads: running.count)
    }

    /// One endpoint's server ends each of its connections after some requests, and has not looked at the last ones.
    @Test func whatAServerHasNotSeenGoesElsewhere() throws {
      let lab = try HTTPLab(
        backends: 2, speaking: "http2",
        policies: [
          .web {
            $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
            $0.retryBudget = RetryBudget(percent: 100)
          }
        ])
      let origin = HTTP2Origin(lab, leavesAfter: [0: 40])
      let address = lab.entranceAddresses[0]
      let running = (0..<4).map { client in inBackground { try Self.ask(client, at: address, count: 300) } }
      for outcome in try running.map({ try $0.get() }) {
        #expect(outcome.answered == 300 && outcome.wrong == [])
      }
      #expect(origin.goAways >= 5)
      #expect(try lab.node.on { $0.statistics.retries } >= 5)
      #expect(origin.counts.count == 1200 && origin.counts.values.allSatisfy { $0 == 1 })
      lab.node.post(.removePod(id: "shop/a", runsOn: false))
      #expect(origin.stop() == [])
      try lab.finish(threads: running.count)
    }

    /// The last answers are larger than what lies between the two at once, and their client says something meanwhile.
    @Test func aDrainWaitsForASlowReader() throws {
      let lab = try HTTPLab(speaking: "http2")
      let raw = try lab.connectRaw()
      var size: Int32 = 16 << 10
      setsockopt(raw.fd, SOL_SOCKET, SO_RCVBUF, &size, 4)
      let client = try HTTP2Talker(HTTPPeer(raw), .client)
      let ids = try (0..<6).map { try client.request("GET", "/\($0)") }
      let backend = try HTTP2Talker(lab.accept(), .server)
      let body = pattern(240 << 10)
      for _ in ids {
        let stream = try backend.nextRequest()
        try backend.respond(stream, end: false)
        #expect(try backend.send(stream, body, end: true) == body.count)
      }
      // All of it is the proxy's.
      try backend.readSome(for: 200)
      lab.node.post(.drain())
      // The final GOAWAY and, were it not for the client, the end come meanwhile.
      usleep(1_000_000)
      #expect(!lab.node.isDrained)
      for id in ids { #expect(try client.answer(to: id).body == body) }
      try client.read { $0.isAtEnd }
      client.peer.close()
      #expect(eventually { lab.node.isDrained })
      try lab.finish()
    }
  }
}
