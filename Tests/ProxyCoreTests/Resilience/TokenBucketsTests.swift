import MeshModel
import Testing

@testable import ProxyCore

@Suite struct TokenBucketsTests {
  private func isAllowed(_ decision: TokenBuckets.Decision) -> Bool { decision == .allowed }

  @Test func aBurstThenTheRate() {
    let buckets = TokenBuckets(RateLimit(requests: 10, interval: 1000, burst: 5), seed: 1, now: .seconds(100))
    let start = NanoTime.seconds(100)
    for _ in 0..<5 { #expect(buckets.take(7, now: start) == .allowed) }
    #expect(buckets.take(7, now: start) == .refused(retryAfter: .milliseconds(100)))
    #expect(buckets.take(7, now: start + .milliseconds(40)) == .refused(retryAfter: 60_937_500))
    #expect(buckets.take(7, now: start + .milliseconds(100)) == .allowed)
    #expect(!isAllowed(buckets.take(7, now: start + .milliseconds(100))))
    // Another key has its own.
    #expect(buckets.take(8, now: start) == .allowed)
    // Full again, and no fuller.
    let later = start + .seconds(60)
    #expect((0..<20).count { _ in isAllowed(buckets.take(7, now: later)) } == 5)
  }

  @Test func nothingIsAllowedAtZero() {
    let buckets = TokenBuckets(RateLimit(requests: 0, burst: 10), seed: 1, now: 0)
    #expect(buckets.take(0, now: .seconds(1000)) == .refused(retryAfter: nil))
    // A burst of 0 is one of 1: else nothing would ever pass.
    let one = TokenBuckets(RateLimit(requests: 1, burst: 0), seed: 1, now: 0)
    #expect(one.take(0, now: 0) == .allowed)
    #expect(!isAllowed(one.take(0, now: 0)))
  }

  /// Two workers with the same clock ask as they like: together they get what a bucket of the node would give, to the
  /// token, at every moment.
  @Test(arguments: [91, 92, 93, 94] as [UInt64]) func exactForTwoWorkers(seed: UInt64) {
    var random = SeededRandom(state: seed)
    let limit = RateLimit(
      requests: .random(in: 1...5000, using: &random), interval: .random(in: 10...5000, using: &random),
      burst: .random(in: 1...100, using: &random))
    let buckets = TokenBuckets(limit, seed: random.next(), now: 0)
    let perToken = Double(limit.interval) * 1e6 / Double(limit.requests)
    var now: NanoTime = 0
    // A plain token bucket, to compare with; within a 64th of a token either may round.
    var tokens = Double(limit.burst)
    var allowed = 0
    for _ in 0..<50_000 {
      let step = random.next() % UInt64(perToken)
      now += step
      tokens = min(Double(limit.burst), tokens + Double(step) / perToken)
      switch buckets.take(3, now: now) {
      case .allowed:
        allowed += 1
        #expect(tokens > 1 - 1.0 / 32)
        tokens -= 1
      case .refused(let wait):
        #expect(tokens < 1 + 1.0 / 32)
        #expect(wait! > 0 && Double(wait!) <= perToken + 1)
      }
    }
    #expect(Double(allowed) <= Double(limit.burst) + Double(now) / perToken)
    #expect(Double(allowed) >= min(50_000, Double(now) / perToken) * 0.9)
  }

  /// Real threads at one moment: the burst, not one more.
  @Test func threadsShareABucket() async {
    let buckets = TokenBuckets(RateLimit(requests: 1, burst: 1000), seed: 5, now: 0)
    #expect(buckets.take(9, now: 1) == .allowed)
    let allowed = await withTaskGroup(of: Int.self) { group in
      for _ in 0..<4 { group.addTask { (0..<5000).count { _ in buckets.take(9, now: 1) == .allowed } } }
      return await group.reduce(0, +)
    }
    #expect(allowed == 999)
  }

  /// 10,000 keys at once are told apart.
  @Test func tenThousandKeys() {
    let buckets = TokenBuckets(RateLimit(requests: 1, burst: 3), seed: 77, now: 0)
    for _ in 0..<3 {
      for key in 0..<10_000 as Range<UInt64> { #expect(buckets.take(key, now: 0) == .allowed) }
    }
    // Beyond a chance meeting or a full run of places none gets more.
    let more = (0..<10_000 as Range<UInt64>).count { isAllowed(buckets.take($0, now: 0)) }
    #expect(more <= 40)
  }

  /// A table far too small for its keys refuses no key's first request and stays as it is.
  @Test func moreKeysThanPlaces() {
    let buckets = TokenBuckets(RateLimit(requests: 1, burst: 2), keys: 16, seed: 78, now: 0)
    #expect((0..<5000 as Range<UInt64>).allSatisfy { isAllowed(buckets.take($0, now: 0)) })
    // The one that has spent the most stays.
    let other = TokenBuckets(RateLimit(requests: 1, burst: 50), keys: 16, seed: 78, now: 0)
    for _ in 0..<50 { #expect(other.take(1 << 40, now: 0) == .allowed) }
    for key in 0..<5000 as Range<UInt64> { _ = other.take(key, now: 0) }
    #expect(!isAllowed(other.take(1 << 40, now: 0)))
  }

  /// The times in the cells wrap; an old one must not look like the future. A token of 1 µs wraps after 4.8 hours.
  @Test func longAfterwardsABucketIsFull() {
    let limit = RateLimit(requests: 1_000_000, interval: 1000, burst: 1_000_000)
    let buckets = TokenBuckets(limit, seed: 79, now: 0)
    let wrap = UInt64(1 << 40) / 64 * 1000
    var now: NanoTime = 0
    for step in 1..<400 as Range<UInt64> {
      for _ in 0..<3 { #expect(buckets.take(step % 7, now: now) == .allowed) }
      now += wrap / 8 * (step % 17)
    }
    // Drained, and then silent for a whole wrap but a little.
    let small = TokenBuckets(RateLimit(requests: 1_000_000, interval: 1000, burst: 2), seed: 79, now: 0)
    for _ in 0..<2 { _ = small.take(1, now: 0) }
    #expect(!isAllowed(small.take(1, now: 0)))
    #expect(small.take(1, now: wrap) == .allowed)
    #expect(small.take(1, now: wrap) == .allowed)
  }

  @Test func extremeLimits() {
    for limit in [
      RateLimit(requests: .max, interval: 1, burst: .max), RateLimit(requests: 1, interval: .max, burst: .max),
      RateLimit(requests: .max, interval: 0, burst: 1), RateLimit(requests: .max, interval: .max, burst: 1),
    ] {
      let buckets = TokenBuckets(limit, seed: 1, now: 5)
      for now in [0, 5, 6, .seconds(1), .seconds(100_000_000), .max] as [NanoTime] { _ = buckets.take(1, now: now) }
      #expect(TokenBuckets(limit, seed: 2, now: .max).take(1, now: 0) == .allowed)
    }
  }
}
