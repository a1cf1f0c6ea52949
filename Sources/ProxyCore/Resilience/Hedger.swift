import MeshModel

/// When a second try goes out beside the first: after the percentile of the latencies that this worker has seen of the
/// Service's port. What it adds is bounded by the percentile and, at the caller, by the retry budget.
public struct Hedger {
  public let policy: Hedging
  /// Fewer say little about a percentile.
  static let minimumSamples: UInt32 = 100

  private var histogram = LatencyHistogram()
  private var current: NanoTime?
  private var untilRefresh: UInt32 = minimumSamples

  public init(_ policy: Hedging = Hedging()) { self.policy = policy }

  /// A first try's latency to its response's head. Of one that lost against its hedge too, else only the fast ones
  /// would count.
  public mutating func record(_ latency: NanoTime) {
    histogram.record(latency)
    untilRefresh -= 1
    guard untilRefresh == 0 else { return }
    untilRefresh = 64
    let percentile = histogram.percentile(min(max(policy.percentile, 1), 99)) ?? 0
    current = max(percentile, .milliseconds(UInt64(policy.minimumDelay)))
  }

  /// From the first try's start, in nanoseconds; nil while too little is known.
  public var delay: NanoTime? { current }
}
