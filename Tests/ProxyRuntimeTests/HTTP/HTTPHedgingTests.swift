import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Second tries beside first ones: when there is none, and what becomes of the one that loses.
  @Suite struct HTTPHedgingTests {
    private func lab(_ fill: (inout TrafficPolicy) -> Void = { _ in }) throws -> HTTPLab {
      try HTTPLab(
        backends: 2,
        policies: [
          .web {
            $0.hedging = Hedging(percentile: 50, minimumDelay: 20)
            $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
            fill(&$0)
          }
        ])
    }

    /// A client whose requests have said what is usual.
    private func warm(_ lab: HTTPLab) throws -> HTTPPeer {
      let client = try lab.connect()
      for _ in 0..<100 { #expect(try client.ask("/usual").status == 200) }
      return client
    }

    private func slow(_ origin: LabOrigin) -> Int { origin.counts.paths.filter { $0 == "/slow" }.count }

    @Test func withoutABudgetThereIsNone() throws {
      let lab = try lab { $0.retryBudget = RetryBudget(percent: 0, minimumRate: 1, minimumInterval: 3_600_000) }
      let origin = LabOrigin(lab)
      let client = try warm(lab)
      // The first takes what there is.
      for round in 1...3 {
        origin.set { .answer(afterMilliseconds: $0.path == "/slow" ? round == 1 ? 1000 : 150 : 0) }
        #expect(try client.ask("/slow").text == "/slow")
        #expect(slow(origin) == round + 1)
        #expect(try lab.node.on { $0.statistics.retries } == 1)
        #expect(try eventually { try lab.outstanding() == 0 })
      }
      client.close()
      origin.stop()
      try lab.finish()
    }

    /// Whether it may wait for a connection or not: the first answer is the client's.
    @Test(arguments: [0, 1]) func withAFullBreakerThereIsNone(maxPending: UInt32) throws {
      let lab = try lab { $0.circuitBreaker = CircuitBreaker(maxConnections: 1, maxPending: maxPending) }
      let origin = LabOrigin(lab)
      let client = try warm(lab)
      origin.set { .answer(afterMilliseconds: $0.path == "/slow" ? 1000 : 0) }
      try client.get("/slow")
      // It was wanted.
      #expect(try eventually { try lab.node.on { $0.statistics.retries } == 1 })
      #expect(try lab.count(.pending) == Int(maxPending))
      #expect(try client.read().text == "/slow")
      #expect(slow(origin) == 1)
      #expect(try lab.count(.pending) == 0)
      #expect(try lab.outstanding() == 0)
      #expect(try client.ask("/next").text == "/next")
      #expect(origin.counts.mostConnections == 1 && client.isSilent())
      client.close()
      origin.stop()
      try lab.finish()
    }

    enum Loser: CaseIterable { case isSilent, answersLater, fails, resets }

    /// The first answers when the second is under way already.
    @Test(arguments: Loser.allCases) func theFirstTryMayStillWin(loser: Loser) throws {
      let lab = try lab()
      let origin = LabOrigin(lab)
      let client = try warm(lab)
      let usual = origin.counts.requests.reduce(0, +)
      origin.set { request in
        guard request.path == "/slow" else { return .answer() }
        // A first one goes where the other round robin's turn is.
        guard request.underWay > 1 else { return .answer(201, afterMilliseconds: 1000) }
        switch loser {
        case .isSilent: return .silence
        case .answersLater: return .answer(202, afterMilliseconds: 2000)
        case .fails: return .answer(503)
        case .resets: return .reset
        }
      }
      let answer = try client.ask("/slow")
      // An error is an answer too, where no policy says that it is retried.
      #expect(answer.status == (loser == .fails ? 503 : 201))
      #expect(slow(origin) == 2 && origin.counts.requests.reduce(0, +) == usual + 2)
      // Nobody waits for the other: its server learns that.
      #expect(eventually { origin.counts.underWay == 0 })
      #expect(try lab.outstanding() == 0)
      #expect(try eventually { try lab.count(.requests) == 0 })
      #expect(client.isSilent(for: 50))
      #expect(try lab.node.on { $0.statistics.retries } == 1)
      for round in 0..<4 { #expect(try client.ask("/\(round)").text == "/\(round)") }
      client.close()
      origin.stop()
      try lab.finish()
    }

    /// Only what may be sent twice.
    @Test func aPOSTIsNotHedged() throws {
      let lab = try lab()
      let origin = LabOrigin(lab)
      let client = try warm(lab)
      origin.set { _ in .answer(afterMilliseconds: 150) }
      try client.write("POST /slow HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n")
      #expect(try client.read().text == "/slow")
      #expect(slow(origin) == 1)
      client.close()
      origin.stop()
      try lab.finish()
    }
  }
}
