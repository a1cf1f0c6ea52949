import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Endpoints that err, or are slow, get no requests for a while.
  @Suite struct HTTPOutlierTests {
    private static let bad = 5

    private func lab(_ detection: OutlierDetection, backends: Int = 6, dead: Int = 0) throws -> HTTPLab {
      try HTTPLab(
        backends: backends, dead: dead,
        policies: [
          .web {
            $0.outlierDetection = detection
            $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
            $0.timeouts = Timeouts(perTry: 3000)
          }
        ])
    }

    /// Whether `condition` comes to hold within 20 seconds for the requests per endpoint of `count` in a row.
    private func eventually(_ origin: LabOrigin, in count: Int, _ condition: ([Int]) -> Bool) -> Bool {
      let end = EventLoop.clock() + .seconds(20)
      while EventLoop.clock() < end {
        let before = origin.counts.requests
        guard ProxyRuntimeTests.eventually({ origin.counts.requests.reduce(0, +) >= before.reduce(0, +) + count })
        else { return false }
        if condition(zip(origin.counts.requests, before).map { $0 - $1 }) { return true }
      }
      return false
    }

    /// It is ejected, comes back, is ejected again for longer, and stays once it is well.
    private func followBad(_ lab: HTTPLab, _ origin: LabOrigin, clients: Int) {
      let load = LabLoad(lab, clients: clients)
      for _ in 0..<2 {
        #expect(eventually(origin, in: 60) { $0[Self.bad] == 0 }, "it isn't ejected")
        let before = origin.counts.requests[Self.bad]
        #expect(eventually(origin, in: 10) { _ in origin.counts.requests[Self.bad] > before }, "it doesn't return")
      }
      origin.set { _ in .answer(afterMilliseconds: 5) }
      #expect(eventually(origin, in: 120) { $0[Self.bad] >= 15 }, "it gets no share")
      #expect(load.stop() == [])
    }

    @Test func bySuccessRate() throws {
      let lab = try lab(
        OutlierDetection(
          consecutiveErrors: 0, interval: 100, baseEjectionTime: 400, maximumEjectionTime: 800,
          maximumEjectionPercent: 40, successRateDeviation: 1500, minimumRequests: 3, minimumEndpoints: 4))
      // Never two in a row.
      let origin = LabOrigin(lab) { .answer($0.endpoint == Self.bad && $0.number % 2 == 0 ? 500 : 200) }
      followBad(lab, origin, clients: 2)
      origin.stop()
      try lab.finish()
    }

    @Test func byLatency() throws {
      let lab = try lab(
        OutlierDetection(
          consecutiveErrors: 0, interval: 200, baseEjectionTime: 600, maximumEjectionTime: 1200,
          maximumEjectionPercent: 40, minimumRequests: 3, minimumEndpoints: 4, latencyPercent: 400))
      let origin = LabOrigin(lab) { .answer(afterMilliseconds: $0.endpoint == Self.bad ? 100 : 5) }
      followBad(lab, origin, clients: 8)
      origin.stop()
      try lab.finish()
    }

    /// However many err, of six endpoints at most one is out.
    @Test func theMaximumPercentageHolds() throws {
      let lab = try lab(
        OutlierDetection(
          consecutiveErrors: 2, interval: 100, baseEjectionTime: 300, maximumEjectionTime: 300,
          maximumEjectionPercent: 20))
      let origin = LabOrigin(lab) { .answer($0.endpoint < 3 ? 500 : 200) }
      let client = try lab.connect()
      var wasOneOut = false
      let end = EventLoop.clock() + .milliseconds(1500)
      while !wasOneOut || EventLoop.clock() < end {
        // Some rounds, so that each that is in has its turn.
        var seen: Set<Int> = []
        for _ in 0..<24 { seen.insert(try #require(try client.ask().endpoint)) }
        try #require(seen.count >= 5 && seen.isSuperset(of: 3..<6))
        if seen.count == 5 { wasOneOut = true }
        guard EventLoop.clock() < end + .seconds(15) else { break }
      }
      #expect(wasOneOut)
      client.close()
      origin.stop()
      try lab.finish()
    }

    /// One that refuses connections: retries meet it until it is out.
    @Test func connectFailuresCount() throws {
      let lab = try lab(
        OutlierDetection(consecutiveErrors: 3, baseEjectionTime: 60_000, maximumEjectionPercent: 40),
        backends: 2, dead: 1)
      let origin = LabOrigin(lab)
      let client = try lab.connect()
      for _ in 0..<60 { #expect(try client.ask().status == 200) }
      #expect(try lab.node.on { $0.statistics.retries } == 3)
      client.close()
      origin.stop()
      try lab.finish()
    }

    enum Error: CaseIterable { case status, reset, silence }

    @Test(arguments: Error.allCases) func consecutiveErrorsCount(error: Error) throws {
      let lab = try lab(
        OutlierDetection(consecutiveErrors: 3, baseEjectionTime: 60_000, maximumEjectionPercent: 40), backends: 3)
      let origin = LabOrigin(lab) { request in
        guard request.endpoint == 2 else { return .answer() }
        switch error {
        case .status: return .answer(503)
        case .reset: return .reset
        case .silence: return .silence
        }
      }
      let client = try lab.connect()
      var failures = 0
      for _ in 0..<60 {
        let answer = try client.ask()
        guard answer.status != 200 else { continue }
        failures += 1
        switch error {
        case .status: #expect(answer.status == 503 && answer.endpoint == 2)
        case .reset: #expect(answer.isRefusal(503, "UC"))
        case .silence: #expect(answer.isRefusal(504, "UT"))
        }
      }
      #expect(failures == 3 && origin.counts.requests[2] == 3)
      client.close()
      origin.stop()
      try lab.finish()
    }
  }
}
