import MeshModel
import Testing

@testable import ProxyCore

@Suite struct HedgerTests {
  @Test func nothingBeforeEnoughIsKnown() {
    var hedger = Hedger()
    for _ in 0..<99 { hedger.record(.milliseconds(10)) }
    #expect(hedger.delay == nil)
    hedger.record(.milliseconds(10))
    #expect(hedger.delay != nil)
  }

  /// Uniform from 10 to 110 ms: the 50th percentile is 60, the 95th 105, each within a class and its noise.
  @Test(arguments: [(50, 60), (90, 100), (95, 105), (99, 109)] as [(UInt32, UInt64)])
  func percentiles(percentile: UInt32, expected: UInt64) {
    var random = SeededRandom(state: 101)
    var hedger = Hedger(Hedging(percentile: percentile))
    for _ in 0..<4000 { hedger.record(.milliseconds(10) + random.next() % .milliseconds(100)) }
    let delay = Double(hedger.delay!) / 1e6
    #expect(delay > Double(expected) * 0.96 && delay < Double(expected) * 1.1)
  }

  @Test func neverBeforeTheMinimum() {
    var hedger = Hedger(Hedging(percentile: 95, minimumDelay: 5))
    for _ in 0..<100 { hedger.record(100_000) }
    #expect(hedger.delay == .milliseconds(5))
  }

  @Test func itFollowsChanges() {
    var hedger = Hedger()
    for _ in 0..<10_000 { hedger.record(.milliseconds(10)) }
    // 4 % of all, but more than 5 % of those that it remembers.
    for _ in 0..<400 { hedger.record(.milliseconds(100)) }
    #expect(hedger.delay! >= .milliseconds(100))
    for _ in 0..<30_000 { hedger.record(.milliseconds(10)) }
    #expect(hedger.delay! < .milliseconds(11))
  }

  /// Every latency lies in a class whose upper bound is above it by a 16th at most.
  @Test func classes() {
    var random = SeededRandom(state: 102)
    for _ in 0..<5000 {
      let latency = (random.next() >> 28).clamped(to: 1024...68_000_000_000)
      var histogram = LatencyHistogram()
      histogram.record(latency)
      let bound = histogram.percentile(50)!
      #expect(bound > latency && Double(bound) <= Double(latency) * 17 / 16)
    }
    for latency in [0, 1, 1023, .max] as [NanoTime] {
      var histogram = LatencyHistogram()
      histogram.record(latency)
      #expect(histogram.percentile(0)! >= 1024 && histogram.percentile(100)! < .seconds(69))
    }
  }
}

extension UInt64 {
  fileprivate func clamped(to range: ClosedRange<UInt64>) -> UInt64 {
    Swift.min(Swift.max(self, range.lowerBound), range.upperBound)
  }
}
