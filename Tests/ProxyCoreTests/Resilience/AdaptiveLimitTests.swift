import MeshModel
import Testing

@testable import ProxyCore

@Suite struct AdaptiveLimitTests {
  /// An upstream that works on `capacity` requests at once, 10 ms each, and lets the rest queue; clients that always
  /// want more. The limits of each second and the mean latency of the last half, in milliseconds.
  private func simulate(
    capacity: Int, policy: AdaptiveConcurrency, seconds: Int, clients: Int = 2000
  ) -> (limits: [Int], latency: Double) {
    let limit = AdaptiveLimit(policy, now: 0)
    var queue: [NanoTime] = []
    var first = 0
    var limits: [Int] = []
    var sum = 0.0
    var count = 0
    var serving: [(end: NanoTime, began: NanoTime)] = []
    for tick in 0..<(seconds * 1000) {
      let now = NanoTime.milliseconds(UInt64(tick))
      serving.removeAll {
        guard $0.end <= now else { return false }
        limit.finished(latency: now - $0.began, now: now)
        if tick > seconds * 500 {
          sum += Double(now - $0.began) / 1e6
          count += 1
        }
        return true
      }
      while limit.requestsInFlight < clients, limit.tryAcquire() { queue.append(now) }
      while serving.count < capacity, first < queue.count {
        // A little unevenly, so that not all end in the same tick.
        serving.append((now + .milliseconds(9 + UInt64(first % 3)), queue[first]))
        first += 1
      }
      #expect(limit.requestsInFlight <= max(Int(policy.maximum), 1))
      if tick % 1000 == 999 { limits.append(limit.current) }
    }
    return (limits, sum / Double(count))
  }

  /// It settles between what the upstream can do at once and about twice that, and the latency stays low; without a
  /// limit 2,000 requests at 50 at once would take 400 ms.
  @Test func itFindsTheCapacity() {
    let result = simulate(capacity: 50, policy: AdaptiveConcurrency(minimum: 4, maximum: 2000), seconds: 70)
    #expect(result.limits[20...].allSatisfy { (45...190).contains($0) })
    #expect(result.latency < 40)
  }

  @Test func itStaysWithinItsBounds() {
    let low = simulate(capacity: 500, policy: AdaptiveConcurrency(minimum: 4, maximum: 30), seconds: 10)
    #expect(low.limits.last == 30)
    let high = simulate(capacity: 1, policy: AdaptiveConcurrency(minimum: 25, maximum: 100), seconds: 20)
    #expect(high.limits.last == 25)
  }

  /// Few requests don't show what more would do.
  @Test func itDoesNotGrowUnused() {
    let result = simulate(
      capacity: 500, policy: AdaptiveConcurrency(minimum: 4, maximum: 2000), seconds: 20, clients: 3)
    #expect(result.limits.last == 20)
  }

  @Test func refusalsAndOddPolicies() {
    let limit = AdaptiveLimit(AdaptiveConcurrency(minimum: 0, maximum: 0), now: 0)
    #expect(limit.current == 1)
    #expect(limit.tryAcquire())
    #expect(!limit.tryAcquire())
    limit.finished(latency: nil, now: 0)
    #expect(limit.tryAcquire())
    limit.update(AdaptiveConcurrency(minimum: 10, maximum: 5))
    #expect(limit.current == 10)
  }
}
