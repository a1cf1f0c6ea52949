import MeshModel
import Testing

@testable import ProxyCore

@Suite struct AlgorithmTests {
  static let everyAlgorithm: [LoadBalancer.Algorithm] = [
    .roundRobin, .random, .leastRequest, .peakEWMA, .ringHash(.sourceAddress), .maglev(.sourceAddress),
  ]

  @Test(arguments: everyAlgorithm) func nothingToChoose(algorithm: LoadBalancer.Algorithm) {
    var random = SeededRandom(state: 1)
    var none = EndpointSet([], algorithm)
    #expect(none.choose(hash: 7, now: 0, random: &random) == nil)
    var unusable = EndpointSet(
      [balanced(1, isReady: false), balanced(2, isDraining: true), balanced(3, weight: 0)], algorithm)
    #expect(unusable.choose(hash: 7, now: 0, random: &random) == nil)
    #expect(unusable.choose(now: 0, random: &random) == nil)
  }

  @Test(arguments: everyAlgorithm) func onlyReadyOnes(algorithm: LoadBalancer.Algorithm) {
    var random = SeededRandom(state: 2)
    let list = [
      balanced(0, isReady: false), balanced(1), balanced(2, isDraining: true), balanced(3, weight: 0), balanced(4),
    ]
    var set = EndpointSet(list, algorithm)
    var seen: Set<Int> = []
    for key in 0..<500 {
      let index = set.choose(hash: key % 2 == 0 ? UInt64(key) : nil, now: 0, random: &random)!
      seen.insert(index)
    }
    #expect(seen == [1, 4])
  }

  /// Weights 1, 2, 3, 4 by every algorithm that isn't about load; 4 standard deviations of chi-square with 3 degrees of
  /// freedom are 9.8 above its mean of 3.
  @Test(
    arguments: [.random, .leastRequest, .ringHash(.sourceAddress)] as [LoadBalancer.Algorithm], [3, 4, 5] as [UInt64])
  func weightsHold(algorithm: LoadBalancer.Algorithm, seed: UInt64) {
    var random = SeededRandom(state: seed)
    var set = EndpointSet((0..<4).map { balanced($0, weight: UInt32($0 + 1)) }, algorithm)
    let counts = set.counts(40_000, random: &random)
    #expect(chiSquare(counts, expected: [4000, 8000, 12_000, 16_000]) < 12.8)
  }

  @Test func roundRobinIsSmooth() {
    var random = SeededRandom(state: 6)
    var set = EndpointSet([balanced(0, weight: 5), balanced(1), balanced(2)], .roundRobin)
    let turns = (0..<14).map { _ in set.choose(now: 0, random: &random)! }
    #expect(turns == [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0])
  }

  @Test func roundRobinOfEqualsIsExact() {
    var random = SeededRandom(state: 7)
    var set = EndpointSet((0..<7).map { balanced($0) }, .roundRobin)
    #expect(set.counts(700, random: &random) == Array(repeating: 100, count: 7))
  }

  @Test(arguments: everyAlgorithm) func triedOnesAreAvoided(algorithm: LoadBalancer.Algorithm) {
    var random = SeededRandom(state: 8)
    var set = EndpointSet((0..<40).map { balanced($0, weight: UInt32(1 + $0 % 3)) }, algorithm)
    for key in 0..<4 as Range<UInt64> {
      var tried: [SocketAddress] = []
      for _ in 0..<40 {
        let address = endpointAddress(set.choose(hash: key, excluding: tried, now: 0, random: &random)!)
        #expect(!tried.contains(address))
        tried.append(address)
      }
      // All were tried: any of them again, rather than none.
      #expect(set.choose(hash: key, excluding: tried, now: 0, random: &random) != nil)
    }
  }

  @Test func leastRequestKeepsTheLoadLevelByWeight() {
    var random = SeededRandom(state: 9)
    var set = EndpointSet((0..<20).map { balanced($0, weight: $0 < 10 ? 1 : 3) }, .leastRequest)
    for _ in 0..<8000 { _ = set.started(set.choose(now: 0, random: &random)!) }
    for index in 0..<20 {
      let expected = index < 10 ? 200 : 600
      #expect(abs(set.status(of: index, now: 0).outstanding - expected) <= expected / 20)
    }
  }

  /// Of ten one takes 50 ms, the others 2 ms: 1,000 requests a second for 20 s.
  @Test func peakEWMAAvoidsTheSlow() {
    var random = SeededRandom(state: 10)
    var set = EndpointSet((0..<10).map { balanced($0) }, .peakEWMA)
    var running: [(end: NanoTime, begin: NanoTime, attempt: EndpointAttempt)] = []
    var counts = Array(repeating: 0, count: 10)
    for tick in 0..<20_000 as Range<UInt64> {
      let now = NanoTime.milliseconds(tick)
      running.removeAll {
        guard $0.end <= now else { return false }
        set.finished($0.attempt, outcome: .success, latency: $0.end - $0.begin, now: now)
        return true
      }
      let index = set.choose(now: now, random: &random)!
      counts[index] += 1
      let latency = NanoTime.milliseconds(index == 0 ? 50 : 2) + random.next() % 200_000
      running.append((now + latency, now, set.started(index)))
    }
    #expect(counts[0] < 20)
    #expect(counts[0] >= 1)
    #expect(counts[1...].allSatisfy { $0 > 1000 && $0 < 4000 })
  }

  /// Once its latency is forgotten an endpoint that was slow is tried again.
  @Test func peakEWMAComesBack() {
    var random = SeededRandom(state: 11)
    var set = EndpointSet([balanced(0), balanced(1)], .peakEWMA)
    set.run(0, .success, latency: .milliseconds(100), now: 0)
    set.run(1, .success, latency: .milliseconds(10), now: 0)
    var first: UInt64?
    for second in 1..<60 as Range<UInt64> where first == nil {
      let index = set.choose(now: .seconds(second), random: &random)!
      if index == 0 { first = second }
      set.run(index, .success, latency: .milliseconds(10), now: .seconds(second))
    }
    // 10 s x ln(100/10) = 23 s, and 1 s in which the other's falls too.
    #expect(first == 25)
  }

  @Test func aFastFailureIsNoFastAnswer() {
    var random = SeededRandom(state: 12)
    var set = EndpointSet([balanced(0), balanced(1)], .peakEWMA)
    var counts = [0, 0]
    for step in 0..<5000 as Range<UInt64> {
      let now = NanoTime.milliseconds(step)
      let index = set.choose(now: now, random: &random)!
      counts[index] += 1
      set.run(index, index == 0 ? .failure : .success, latency: index == 0 ? 50_000 : 5_000_000, now: now)
    }
    #expect(counts[0] < 50)
  }

  @Test func abandonedTriesOnlyRaise() {
    var average = PeakEWMA()
    average.observe(.milliseconds(5), outcome: .abandoned, now: 0)
    #expect(!average.hasSample)
    average.observe(.milliseconds(5), outcome: .success, now: 0)
    average.observe(.milliseconds(1), outcome: .abandoned, now: 0)
    #expect(average.value(at: 0) == 5e6)
    average.observe(.milliseconds(9), outcome: .abandoned, now: 0)
    #expect(average.value(at: 0) == 9e6)
    // e^-1 and e^-2.5.
    #expect(abs(average.value(at: .seconds(10)) / 9e6 - 0.367_879) < 1e-5)
    #expect(abs(average.value(at: .seconds(25)) / 9e6 - 0.082_085) < 1e-5)
  }

  /// With one answer after another the average moves to what it hears.
  @Test func theAverageFollows() {
    var average = PeakEWMA()
    average.observe(.milliseconds(100), outcome: .success, now: 0)
    for step in 1...600 as ClosedRange<UInt64> {
      average.observe(.milliseconds(10), outcome: .success, now: .milliseconds(step * 100))
    }
    #expect(abs(average.value(at: .seconds(60)) / 1e6 - 10) < 0.5)
  }
}
