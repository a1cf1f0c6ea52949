import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// A circuit breaker is the node's: its workers share it.
  @Suite struct HTTPSharedLimitTests {
    private func serve(
      _ breaker: CircuitBreaker, clients: Int, most: (LabOrigin.Counts) -> Int, limit: Int,
      _ plan: @escaping @Sendable (LabOrigin.Request) -> LabOrigin.Reply
    ) throws {
      let lab = try HTTPLab(
        backends: 2,
        policies: [
          .web {
            $0.circuitBreaker = breaker
            $0.timeouts = Timeouts(connect: 1000)
          }
        ], workers: 2)
      let origin = LabOrigin(lab, plan)
      let load = LabLoad(lab, clients: clients)
      #expect(eventually { load.counts["200"] ?? 0 >= 1500 })
      #expect(load.stop() == [])
      // Reached, and never exceeded.
      #expect(most(origin.counts) == limit)
      #expect(Set(load.counts.keys).isSubset(of: ["200", "503 UO"]))
      for node in lab.nodes { #expect(try node.on { $0.statistics.requests } > 100) }
      for resource in [CircuitLimits.Resource.requests, .pending, .retries] {
        #expect(try eventually { try lab.count(resource) == 0 })
      }
      origin.stop()
      #expect(try eventually { try lab.count(.connections) == 0 })
      try lab.finish()
    }

    @Test func maxRequests() throws {
      try serve(CircuitBreaker(maxRequests: 5), clients: 16, most: \.mostUnderWay, limit: 5) { _ in
        .answer(afterMilliseconds: 2)
      }
    }

    /// The server ends each connection, so that places change hands all the time.
    @Test func maxConnections() throws {
      try serve(CircuitBreaker(maxConnections: 5), clients: 16, most: \.mostConnections, limit: 5) { _ in .lastAnswer }
    }

    @Test func maxConnectionsWithoutWaiting() throws {
      try serve(
        CircuitBreaker(maxConnections: 5, maxPending: 0), clients: 16, most: \.mostConnections, limit: 5
      ) { _ in .lastAnswer }
    }

    /// Resets, timeouts and clients that leave give everything back too.
    @Test func whatFailsGivesItsPlacesBack() throws {
      let lab = try HTTPLab(
        backends: 2,
        policies: [
          .web {
            $0.circuitBreaker = CircuitBreaker(maxConnections: 6, maxPending: 4, maxRequests: 8, maxRetries: 2)
            $0.timeouts = Timeouts(perTry: 50, connect: 50)
            $0.retry = RetryPolicy(attempts: 2, backoff: 2, maximumBackoff: 5)
            $0.retryBudget = RetryBudget(percent: 100)
          }
        ], workers: 2)
      let origin = LabOrigin(lab) { request in
        switch request.number % 7 {
        case 0: .reset
        case 1: .silence
        case 2: .answer(503)
        case 3: .lastAnswer
        default: .answer(afterMilliseconds: 1)
        }
      }
      let load = LabLoad(lab, clients: 12)
      for round in 0..<40 {
        let leaving = HTTPPeer(try .connected(to: lab.entranceAddresses[round % 2]))
        try leaving.get("/leaving")
        _ = leaving.isSilent(for: Int32(round % 5))
        leaving.reset()
      }
      #expect(eventually { load.counts["200"] ?? 0 >= 300 })
      #expect(load.stop() == [])
      for resource in [CircuitLimits.Resource.requests, .pending, .retries] {
        #expect(try eventually { try lab.count(resource) == 0 })
      }
      origin.stop()
      #expect(try eventually { try lab.count(.connections) == 0 })
      // All of it can be used again.
      let calm = LabOrigin(lab) { _ in .answer(afterMilliseconds: 20) }
      let again = LabLoad(lab, clients: 12)
      #expect(eventually { calm.counts.mostUnderWay >= 6 })
      #expect(again.stop() == [])
      calm.stop()
      try lab.finish()
    }
  }
}
