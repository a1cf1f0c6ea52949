import MeshModel
import Testing

@testable import ProxyCore

@Suite struct OutlierTests {
  private func set(_ count: Int, _ detection: OutlierDetection, locality: Locality? = nil) -> EndpointSet {
    EndpointSet((0..<count).map { balanced($0) }, .random, locality: locality, outlierDetection: detection)
  }

  private func ejected(_ set: EndpointSet) -> Set<Int> {
    Set(set.endpoints.indices.filter { set.status(of: $0, now: 0).ejectedUntil != nil })
  }

  @Test func errorsInARow() {
    var random = SeededRandom(state: 41)
    var set = set(10, OutlierDetection(consecutiveErrors: 3))
    for outcome in [.failure, .failure, .success, .failure, .failure, .abandoned] as [AttemptOutcome] {
      set.run(4, outcome, now: 0)
    }
    #expect(ejected(set) == [])
    set.run(4, .failure, now: 0)
    #expect(ejected(set) == [4])
    #expect(set.persistent(EndpointToken(endpointAddress(4))) == nil)
    let counts = set.counts(9000, random: &random)
    #expect(counts[4] == 0)
    #expect(counts.count { $0 > 800 } == 9)
    // 30 s later it is back.
    _ = set.choose(now: .milliseconds(29_999), random: &random)
    #expect(ejected(set) == [4])
    _ = set.choose(now: .seconds(30), random: &random)
    #expect(ejected(set) == [])
  }

  /// 30, 60, 90 s … up to 100 s, and shorter again after intervals without an ejection.
  @Test func theReturnTakesLongerEachTime() {
    var random = SeededRandom(state: 42)
    var set = set(4, OutlierDetection(consecutiveErrors: 1, interval: 1_000_000, maximumEjectionTime: 100_000))
    var now: NanoTime = 0
    for seconds in [30, 60, 90, 100, 100] as [UInt64] {
      set.run(0, .failure, now: now)
      #expect(set.status(of: 0, now: now).ejectedUntil == now + .seconds(seconds))
      now += .seconds(seconds)
      _ = set.choose(now: now, random: &random)
      #expect(ejected(set) == [])
    }
    for _ in 0..<5 {
      now += .seconds(1000)
      _ = set.choose(now: now, random: &random)
    }
    set.run(0, .failure, now: now)
    #expect(set.status(of: 0, now: now).ejectedUntil == now + .seconds(30))
  }

  /// Whatever fails, and however the list changes: never more than the percentage, or one.
  @Test(arguments: [51, 52, 53] as [UInt64]) func thePercentageHolds(seed: UInt64) {
    var random = SeededRandom(state: seed)
    let percent = UInt32.random(in: 0...60, using: &random)
    let detection = OutlierDetection(
      consecutiveErrors: 2, interval: 500, maximumEjectionPercent: percent, successRateDeviation: 500,
      minimumRequests: 3, minimumEndpoints: 3, latencyPercent: 150)
    var set = set(20, detection)
    var most = 0
    for step in 0..<20_000 as Range<UInt64> {
      let now = NanoTime.milliseconds(step)
      if step % 500 == 499 {
        let count = Int.random(in: 1...40, using: &random)
        set.update(
          (0..<count).map { balanced($0) }, policy: LoadBalancer(algorithm: .random), outlierDetection: detection,
          now: now)
      }
      let index = set.choose(now: now, random: &random)!
      set.run(
        index, Int.random(in: 0..<3, using: &random) == 0 ? .failure : .success, latency: random.next() % 10_000_000,
        now: now)
      let bound = percent == 0 ? 0 : max(set.endpoints.count * Int(percent) / 100, set.endpoints.count > 1 ? 1 : 0)
      #expect(ejected(set).count <= bound)
      most = max(most, ejected(set).count)
    }
    #expect(percent == 0 || most > 0)
  }

  @Test func successRate() {
    var set = set(
      10, OutlierDetection(consecutiveErrors: 0, maximumEjectionPercent: 50, successRateDeviation: 1900))
    for request in 0..<100 {
      for index in 0..<10 {
        // All fail in 1 %, the seventh in 10 %.
        set.run(index, request % (index == 7 ? 10 : 100) == 0 ? .failure : .success, now: .seconds(1))
      }
    }
    #expect(ejected(set) == [])
    set.run(0, .success, now: .seconds(10))
    #expect(ejected(set) == [7])
  }

  @Test func successRateNeedsRequestsAndEndpoints() {
    for (count, requests) in [(4, 100), (10, 99)] {
      var set = set(
        count, OutlierDetection(consecutiveErrors: 0, maximumEjectionPercent: 50, successRateDeviation: 1000))
      for _ in 0..<requests {
        for index in 0..<count { set.run(index, index == 1 ? .failure : .success, now: .seconds(1)) }
      }
      set.run(0, .success, now: .seconds(10))
      #expect(ejected(set) == [])
    }
  }

  @Test func latency() {
    var set = set(
      10, OutlierDetection(consecutiveErrors: 0, maximumEjectionPercent: 50, minimumRequests: 20, latencyPercent: 300))
    for _ in 0..<20 {
      for index in 0..<10 {
        let latency = [3: 31, 6: 29, 8: 200][index] ?? 10
        set.run(index, .success, latency: .milliseconds(UInt64(latency)), now: .seconds(1))
      }
    }
    set.run(0, .success, now: .seconds(10))
    #expect(ejected(set) == [3, 8])
  }

  /// Ejected to below the threshold: all are used again, and none of those that aren't ready.
  @Test(arguments: [(4, false), (6, true)]) func panic(failing: Int, panics: Bool) {
    var random = SeededRandom(state: 43)
    let detection = OutlierDetection(consecutiveErrors: 1, maximumEjectionPercent: 100)
    var set = EndpointSet(
      (0..<12).map { balanced($0, isReady: $0 < 10) }, .random, outlierDetection: detection)
    for index in 0..<failing { set.run(index, .failure, now: 0) }
    #expect(ejected(set).count == failing)
    let counts = set.counts(10_000, random: &random)
    #expect(counts[..<failing].allSatisfy { panics ? $0 > 800 : $0 == 0 })
    #expect(counts[failing..<10].allSatisfy { $0 > 800 })
    #expect(counts[10...] == [0, 0])
  }

  @Test func withoutAPolicyAllReturn() {
    var random = SeededRandom(state: 44)
    var set = set(4, OutlierDetection(consecutiveErrors: 1))
    set.run(2, .failure, now: 0)
    #expect(ejected(set) == [2])
    set.update((0..<4).map { balanced($0) }, policy: LoadBalancer(algorithm: .random), now: 0)
    #expect(ejected(set) == [])
    #expect(set.counts(400, random: &random).allSatisfy { $0 > 0 })
  }

  /// The ejection lasts over an update, and an endpoint that comes back after it was gone is new.
  @Test func ejectionOutlivesUpdates() {
    let detection = OutlierDetection(consecutiveErrors: 1)
    var set = set(4, detection)
    let policy = LoadBalancer(algorithm: .random)
    set.run(2, .failure, now: 0)
    set.update((1..<5).map { balanced($0) }, policy: policy, outlierDetection: detection, now: 1)
    #expect(ejected(set) == [1])
    set.update([balanced(1), balanced(3)], policy: policy, outlierDetection: detection, now: 2)
    set.update((1..<5).map { balanced($0) }, policy: policy, outlierDetection: detection, now: 3)
    #expect(ejected(set) == [])
  }
}
