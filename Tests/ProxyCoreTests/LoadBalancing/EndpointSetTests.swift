import MeshModel
import Testing

@testable import ProxyCore

@Suite struct EndpointSetTests {
  // MARK: Updates

  @Test func stateOutlivesUpdates() {
    var set = EndpointSet((0..<3).map { balanced($0) }, .leastRequest)
    let attempt = set.started(2)
    set.run(2, .success, latency: .milliseconds(30), now: 0)
    set.update([balanced(2), balanced(9)], policy: LoadBalancer(algorithm: .leastRequest), now: 0)
    #expect(set.status(of: 0, now: 0).outstanding == 1)
    #expect(set.status(of: 0, now: 0).latency == .milliseconds(30))
    set.finished(attempt, outcome: .success, latency: 1, now: 0)
    #expect(set.status(of: 0, now: 0).outstanding == 0)
    // Once only.
    set.finished(attempt, outcome: .success, latency: 1, now: 0)
    #expect(set.status(of: 0, now: 0).outstanding == 0)
  }

  @Test func whatAnEndpointHadInFlightIsKeptWhileItIsGone() {
    let policy = LoadBalancer(algorithm: .leastRequest)
    var set = EndpointSet([balanced(0), balanced(1)], .leastRequest)
    let attempts = [set.started(1), set.started(1)]
    set.update([balanced(0)], policy: policy, now: 0)
    set.finished(attempts[0], outcome: .success, latency: 1, now: 0)
    set.update([balanced(0), balanced(1)], policy: policy, now: 0)
    #expect(set.status(of: 1, now: 0).outstanding == 1)
    set.update([balanced(0)], policy: policy, now: 0)
    set.finished(attempts[1], outcome: .success, latency: 1, now: 0)
    // Its place goes to another, which the old tries don't touch.
    set.update([balanced(0), balanced(5)], policy: policy, now: 0)
    _ = set.started(1)
    for attempt in attempts { set.finished(attempt, outcome: .failure, latency: 1, now: 0) }
    #expect(set.status(of: 1, now: 0).outstanding == 1)
    #expect(set.status(of: 1, now: 0).latency == nil)
    #expect(set.slots.count == 2)
  }

  @Test func slotsAreReused() {
    var set = EndpointSet()
    for round in 0..<100 {
      let list = (0..<10).map { balanced(round * 10 + $0) }
      set.update(list, policy: LoadBalancer(), now: 0)
      let attempt = set.started(3)
      set.finished(attempt, outcome: .success, latency: 1, now: 0)
    }
    #expect(set.slots.count == 20)
  }

  /// A connection: judged once it is there, it ends long after without a word about its endpoint.
  @Test func aTryIsJudgedBeforeItEnds() {
    let detection = OutlierDetection(consecutiveErrors: 2)
    var set = EndpointSet([balanced(0), balanced(1)], .peakEWMA, outlierDetection: detection)
    let good = set.started(0)
    set.observed(good, outcome: .success, latency: .milliseconds(3), now: 0)
    let bad = [set.started(1), set.started(1)]
    set.observed(bad[0], outcome: .failure, latency: .milliseconds(3), now: 0)
    #expect(set.status(of: 0, now: 0).latency == .milliseconds(3) && set.status(of: 0, now: 0).outstanding == 1)
    set.finished(bad[0], outcome: .abandoned, latency: 0, now: 0)
    #expect(set.status(of: 1, now: 0).ejectedUntil == nil && set.status(of: 1, now: 0).outstanding == 1)
    set.observed(bad[1], outcome: .failure, latency: .milliseconds(3), now: 0)
    #expect(set.status(of: 1, now: 0).ejectedUntil != nil && set.status(of: 1, now: 0).outstanding == 1)
    let before = set.status(of: 0, now: .seconds(5)).latency
    set.finished(good, outcome: .abandoned, latency: 0, now: .seconds(5))
    #expect(set.status(of: 0, now: .seconds(5)).latency == before && set.status(of: 0, now: 0).outstanding == 0)
    // Ended, or gone: nothing.
    set.observed(good, outcome: .success, latency: .seconds(9), now: .seconds(5))
    #expect(set.status(of: 0, now: .seconds(5)).latency == before)
    set.update([balanced(0)], policy: set.policy, outlierDetection: detection, now: .seconds(5))
    set.observed(bad[1], outcome: .failure, latency: .seconds(9), now: .seconds(5))
    set.finished(bad[1], outcome: .abandoned, latency: 0, now: .seconds(5))
    #expect(set.index(of: endpointAddress(1)) == nil)
  }

  /// The same list changes nothing, whatever differs from it counts: also where only the policy does.
  @Test func anUpdateWithNothingNew() {
    var random = SeededRandom(state: 20)
    let list = (0..<3).map { balanced($0) }
    var set = EndpointSet(list, .roundRobin)
    let first = set.choose(now: 0, random: &random)!
    set.update(list, policy: LoadBalancer(algorithm: .roundRobin), now: 1)
    #expect(set.choose(now: 1, random: &random) == (first + 1) % 3)
    set.update(list, policy: LoadBalancer(algorithm: .roundRobin), locality: Locality(), now: 2)
    #expect(set.pools[3].members == 3 && set.pools[0].members == 0)
    set.update(list, policy: LoadBalancer(algorithm: .maglev(.sourceAddress)), locality: Locality(), now: 3)
    #expect(set.pools[3].table != nil)
    set.update(
      list, policy: set.policy, locality: Locality(), outlierDetection: OutlierDetection(consecutiveErrors: 1), now: 4)
    set.run(1, .failure, now: 4)
    #expect(set.status(of: 1, now: 4).ejectedUntil != nil)
    set.update(list.map { balanced($0.address == endpointAddress(1) ? 7 : 8) }, policy: set.policy, now: 5)
    #expect(set.endpoints.map(\.address) == [endpointAddress(8), endpointAddress(7)])
  }

  @Test func aSecondOneOfAnAddressIsNothing() {
    let set = EndpointSet([balanced(0), balanced(1), balanced(0, weight: 7)], .random)
    #expect(set.endpoints.map(\.address) == [endpointAddress(0), endpointAddress(1)])
    #expect(set.index(of: endpointAddress(1)) == 1)
    #expect(set.index(of: endpointAddress(2)) == nil)
  }

  // MARK: Slow start

  @Test(arguments: [.random, .roundRobin, .leastRequest] as [LoadBalancer.Algorithm])
  func aNewEndpointStartsSlowly(algorithm: LoadBalancer.Algorithm) {
    var random = SeededRandom(state: 21)
    let policy = LoadBalancer(algorithm: algorithm, slowStart: 10_000)
    var set = EndpointSet()
    set.update((0..<4).map { balanced($0) }, policy: policy, now: .seconds(1))
    // All were new together: none is slower.
    #expect(set.counts(8000, now: .seconds(1), random: &random).allSatisfy { abs($0 - 2000) < 200 })
    // Unready first, as a pod of Kubernetes is.
    set.update((0..<5).map { balanced($0, isReady: $0 < 4) }, policy: policy, now: .seconds(50))
    set.update((0..<5).map { balanced($0) }, policy: policy, now: .seconds(100))
    for (time, factor) in [(100, 0.1), (105, 0.55), (110, 1), (200, 1)] as [(UInt64, Double)] {
      let count = set.counts(20_000, now: .seconds(time), random: &random)[4]
      let expected = 20_000 * factor / (4 + factor)
      #expect(abs(Double(count) - expected) < 5 * expected.squareRoot())
    }
  }

  // MARK: Session persistence

  @Test func aSessionStaysWhileItsEndpointIsHealthy() {
    let token = EndpointToken(endpointAddress(1))
    var set = EndpointSet([balanced(0), balanced(1)], .random)
    #expect(set.persistent(token) == 1)
    for list in [[balanced(0)], [balanced(1, isReady: false)], [balanced(1, isDraining: true)]] {
      set.update(list, policy: LoadBalancer(), now: 0)
      #expect(set.persistent(token) == nil)
    }
    set.update([balanced(1), balanced(0)], policy: LoadBalancer(), now: 0)
    #expect(set.persistent(token) == 0)
  }

  // MARK: Locality

  private func shares(_ set: inout EndpointSet, seed: UInt64) -> [LocalityRank: Double] {
    var random = SeededRandom(state: seed)
    var shares: [LocalityRank: Double] = [:]
    let counts = set.counts(20_000, random: &random)
    for index in counts.indices { shares[set.endpoints[index].rank, default: 0] += Double(counts[index]) / 20_000 }
    return shares
  }

  /// 10 endpoints in each of node and zone; so many of the node's are ready. Envoy's table at 140 %.
  @Test(arguments: [(10, 1.0), (8, 1.0), (7, 0.98), (5, 0.70), (2, 0.28), (0, 0)] as [(Int, Double)])
  func failoverFollowsHealth(ready: Int, share: Double) {
    let list = (0..<20).map { balanced($0, isReady: $0 >= 10 || $0 < ready, rank: $0 < 10 ? .node : .zone) }
    var set = EndpointSet(list, .random, locality: Locality())
    let shares = shares(&set, seed: 30)
    #expect(abs((shares[.node] ?? 0) - share) < 0.015)
    #expect(abs((shares[.zone] ?? 0) - (1 - share)) < 0.015)
  }

  /// Both have lost the most of theirs: what is left shares all, in proportion.
  @Test func twoFailingLocalitiesShare() {
    let list = (0..<20).map { balanced($0, isReady: $0 % 10 < ($0 < 10 ? 2 : 4), rank: $0 < 10 ? .node : .region) }
    var set = EndpointSet(list, .random, locality: Locality())
    let shares = shares(&set, seed: 31)
    #expect(abs(shares[.node]! - 1.0 / 3) < 0.015)
    #expect(abs(shares[.region]! - 2.0 / 3) < 0.015)
  }

  @Test func withoutPreferenceAllAreEqual() {
    let list = (0..<20).map { balanced($0, rank: $0 < 10 ? .node : .other) }
    var set = EndpointSet(list, .random, locality: Locality(isPreferred: false))
    #expect(abs(shares(&set, seed: 32)[.node]! - 0.5) < 0.015)
  }

  @Test func aKeyStaysInItsLocality() {
    let list = (0..<20).map { balanced($0, isReady: $0 >= 5, rank: $0 < 10 ? .node : .zone) }
    var set = EndpointSet(list, .ringHash(.sourceAddress), locality: Locality())
    var nodes = 0
    for key in 0..<2000 as Range<UInt64> {
      let index = set.choose(hash: key, excluding: [], now: 0, seed: key)!
      #expect(set.choose(hash: key, excluding: [], now: 0, seed: ~key) == index)
      nodes += set.endpoints[index].rank == .node ? 1 : 0
    }
    // 70 %, 5 standard deviations are 102.
    #expect(abs(nodes - 1400) < 102)
  }

  @Test func aRetryLeavesTheLocality() {
    var random = SeededRandom(state: 33)
    var set = EndpointSet([balanced(0, rank: .node), balanced(1, rank: .region)], .peakEWMA, locality: Locality())
    for _ in 0..<50 {
      #expect(set.choose(now: 0, random: &random) == 0)
      #expect(set.choose(excluding: [endpointAddress(0)], now: 0, random: &random) == 1)
    }
  }

  /// Shares always add up, or nothing is ready.
  @Test func sharesAddUp() {
    var random = SeededRandom(state: 34)
    for _ in 0..<5000 {
      var pools = Array(repeating: EndpointPool(), count: 4)
      for index in pools.indices {
        pools[index].members = Int.random(in: 0...30, using: &random)
        pools[index].ready = Int.random(in: 0...pools[index].members, using: &random)
        pools[index].healthy = Int.random(in: 0...pools[index].ready, using: &random)
      }
      LocalityShares.assign(
        &pools, overprovisioning: UInt32.random(in: 0...300, using: &random),
        panicThreshold: UInt32.random(in: 1...100, using: &random))
      let sum = pools.reduce(0) { $0 + $1.share }
      #expect(sum == (pools.contains { $0.ready > 0 } ? 10_000 : 0))
      for pool in pools where pool.share > 0 { #expect(pool.isPanicking ? pool.ready > 0 : pool.healthy > 0) }
    }
  }
}
