import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Endpoints that have become ready after others.
  @Suite struct HTTPSlowStartTests {
    private static let batch = 400

    private func policy(_ algorithm: LoadBalancer.Algorithm, _ milliseconds: UInt32) -> TrafficPolicy {
      .web { $0.loadBalancer = LoadBalancer(algorithm: algorithm, slowStart: milliseconds) }
    }

    /// Of two otherwise equal endpoints the second's part at a time since it became ready.
    private func share(_ elapsed: NanoTime, of milliseconds: UInt32) -> Double {
      let factor = min(1, 0.1 + 0.9 * Double(elapsed) / Double(NanoTime.milliseconds(UInt64(milliseconds))))
      return factor / (1 + factor)
    }

    @Test(arguments: [LoadBalancer.Algorithm.roundRobin, .leastRequest, .random])
    func aNewEndpointsShareGrows(algorithm: LoadBalancer.Algorithm) throws {
      // So long that it is at its beginning however slow this machine is.
      var duration: UInt32 = 3_600_000
      let lab = try HTTPLab(backends: 2, policies: [policy(algorithm, duration)])
      let origin = LabOrigin(lab)
      let client = try lab.connect()
      func second() throws -> Double {
        var count = 0
        for _ in 0..<Self.batch where try client.ask().endpoint == 1 { count += 1 }
        return Double(count) / Double(Self.batch)
      }
      try lab.set(1, isReady: false)
      #expect(try second() == 0)

      let earliest = EventLoop.clock()
      try lab.set(1, isReady: true)
      let latest = EventLoop.clock()
      /// Between what it should have been at the batch's begin and at its end, give or take five standard deviations.
      func batch() throws -> Double {
        let begin = EventLoop.clock()
        let part = try second()
        let least = share(begin - latest, of: duration)
        let most = share(EventLoop.clock() - earliest, of: duration)
        #expect((least - 0.125)...(most + 0.125) ~= part)
        return part
      }
      let first = try batch()
      #expect(0.01...0.22 ~= first)
      duration = 1500
      try lab.change { $0.policies = [policy(algorithm, duration)] }
      while EventLoop.clock() - latest < .milliseconds(1500) { _ = try batch() }
      let last = try batch()
      #expect(0.375...0.625 ~= last)
      client.close()
      origin.stop()
      #expect(origin.counts.requests.reduce(0, +) % Self.batch == 0)
      try lab.finish()
    }

    /// Where nobody was before there is nobody to take the load meanwhile.
    @Test func theFirstEndpointsStartAtOnce() throws {
      let lab = try HTTPLab(backends: 2, policies: [policy(.roundRobin, 3_600_000)])
      let origin = LabOrigin(lab)
      let client = try lab.connect()
      for _ in 0..<100 { _ = try client.ask() }
      #expect(origin.counts.requests == [50, 50])
      client.close()
      origin.stop()
      try lab.finish()
    }
  }
}
