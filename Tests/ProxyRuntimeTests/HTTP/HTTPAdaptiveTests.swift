import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Adaptive concurrency, as clients and servers see it.
  @Suite struct HTTPAdaptiveTests {
    private func limit(_ lab: HTTPLab) throws -> (current: Int, inFlight: Int) {
      try lab.node.on { worker in
        let limit = worker.snapshot.traffic(of: HTTPLab.web, port: 80)?.policy(client: nil, routeID: nil).adaptiveLimit
        return (limit?.current ?? -1, limit?.requestsInFlight ?? -1)
      }
    }

    /// Four requests at once are no slower than one; more of them queue.
    @Test func aServerThatQueuesGetsFewerAtOnce() throws {
      let lab = try HTTPLab(policies: [.web { $0.adaptiveConcurrency = AdaptiveConcurrency() }])
      let origin = LabOrigin(lab) { .answer(afterMilliseconds: 30 * max(4, $0.underWay) / 4) }
      // One alone says how quick it can be.
      let client = try lab.connect()
      for _ in 0..<10 { #expect(try client.ask().status == 200) }
      let clients = 32
      let load = LabLoad(lab, clients: clients, pause: 20_000)
      // Where it settles a request takes about twice the quickest: at 11.
      #expect(try eventually { try limit(lab).current <= 14 })
      #expect(origin.counts.mostUnderWay < clients)
      origin.forgetMost()
      let before = load.counts["200"] ?? 0
      #expect(eventually { load.counts["200"] ?? 0 > before + 300 })
      #expect(4...20 ~= origin.counts.mostUnderWay)
      #expect(load.counts["503 UO"] ?? 0 > 0)
      // Quick again, whatever comes.
      origin.set { _ in .answer(afterMilliseconds: 30) }
      #expect(try eventually { try limit(lab).current >= 25 })
      #expect(eventually { origin.counts.mostUnderWay >= 22 })
      #expect(load.stop() == [])
      #expect(load.counts.keys.sorted() == ["200", "503 UO"])
      client.close()
      #expect(try eventually { try limit(lab).inFlight == 0 })
      origin.stop()
      try lab.finish()
    }

    enum Ending: CaseIterable {
      case answer, clientLeaves, clientLeavesMidAnswer, timeout, reset, breaksOff, rateLimit, faultAbort, noEndpoint
    }

    /// With one place only the next request tells whether it is free.
    @Test(arguments: Ending.allCases) func thePlaceIsGivenBack(ending: Ending) throws {
      let lab = try HTTPLab(policies: [
        .web {
          $0.adaptiveConcurrency = AdaptiveConcurrency(minimum: 1, maximum: 1)
          switch ending {
          case .timeout: $0.timeouts = Timeouts(request: 2000)
          case .rateLimit: $0.rateLimits = [RateLimit(requests: 1, interval: 3_600_000, burst: 1)]
          case .faultAbort: $0.faults = [Fault(effect: .abort(418), header: .init(name: "x-fault", value: "yes"))]
          default: break
          }
        }
      ])
      let client = try lab.connect()
      let other = try lab.connect()
      if ending == .noEndpoint { try lab.set(0, isReady: false) }
      try client.get("/", "X-Fault: yes")
      switch ending {
      case .noEndpoint:
        #expect(try client.read().isRefusal(503, "UH"))
        try lab.set(0, isReady: true)
      case .faultAbort: #expect(try client.read().isRefusal(418, "FI"))
      default:
        let backend = try lab.accept()
        _ = try backend.read()
        if ending != .timeout {
          #expect(try other.ask().isRefusal(503, "UO"))
          #expect(try limit(lab) == (1, 1))
        }
        switch ending {
        case .clientLeaves: client.reset()
        case .clientLeavesMidAnswer, .breaksOff:
          try backend.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
          _ = try client.readHead()
          if ending == .breaksOff { backend.close() } else { client.reset() }
        case .timeout: #expect(try client.read().isRefusal(504, "UT"))
        case .reset:
          backend.reset()
          #expect(try client.read().isRefusal(503, "UC"))
        default:
          try backend.respond(200, "fine")
          #expect(try client.read().text == "fine")
        }
        backend.close()
      }
      if ending == .rateLimit { #expect(try other.ask().isRefusal(429, "RL")) }
      #expect(try eventually { try limit(lab).inFlight == 0 })
      if ending != .rateLimit {
        try other.get("/next")
        let next = try lab.accept()
        #expect(try next.read().target == "/next")
        try next.respond(200, "next")
        #expect(try other.read().text == "next")
      }
      client.close()
      other.close()
      try lab.finish()
    }
  }
}
