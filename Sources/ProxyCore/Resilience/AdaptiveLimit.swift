import MeshModel
import Synchronization

/// A limit of requests in flight that follows their latency (the gradient of Netflix' concurrency-limits): while
/// requests take no longer than the quickest ones do, it grows by its square root; once they queue, it falls in
/// proportion. For the whole node, without a lock: the worker that ends a window reckons for all.
public final class AdaptiveLimit: Sendable {
  /// Of a window, in nanoseconds; it has to have some samples too.
  static let window = NanoTime.milliseconds(100)
  static let minimumSamples: UInt64 = 10
  /// The quickest latency is that of the present and the last period of so many windows; at each one's begin the limit
  /// is halved for a window, so that the queue that it has itself built isn't taken for the normal.
  static let windowsPerPeriod: UInt64 = 300
  /// Latency may be twice the quickest before the limit falls.
  static let tolerance = 2.0

  private let minimum = Atomic<Int>(1)
  private let maximum = Atomic<Int>(1)
  private let inFlight = Atomic<Int>(0)
  private let limit = Atomic<Int>(1)
  /// The most in flight within this window.
  private let peak = Atomic<Int>(0)
  private let windowEnd: Atomic<UInt64>
  private let windows = Atomic<UInt64>(0)
  private let latencySum = Atomic<UInt64>(0)
  private let samples = Atomic<UInt64>(0)
  private let quickest = Atomic<Int>(.max)
  private let formerQuickest = Atomic<Int>(.max)

  public init(_ policy: AdaptiveConcurrency = AdaptiveConcurrency(), now: NanoTime) {
    windowEnd = Atomic(now &+ Self.window)
    update(policy)
    let start = max(20, minimum.load(ordering: .relaxed))
    limit.store(min(start, maximum.load(ordering: .relaxed)), ordering: .relaxed)
  }

  public func update(_ policy: AdaptiveConcurrency) {
    let least = max(1, Int(policy.minimum))
    minimum.store(least, ordering: .relaxed)
    maximum.store(max(least, Int(policy.maximum)), ordering: .relaxed)
    limit.store(bounded(Double(current)), ordering: .relaxed)
  }

  public var current: Int { limit.load(ordering: .relaxed) }
  public var requestsInFlight: Int { inFlight.load(ordering: .relaxed) }

  /// false: as many as the limit allows are in flight. Else `finished` gives it back.
  public func tryAcquire() -> Bool {
    let limit = current
    var count = inFlight.load(ordering: .relaxed)
    while count < limit {
      let result = inFlight.weakCompareExchange(expected: count, desired: count + 1, ordering: .relaxed)
      if result.exchanged {
        peak.max(count + 1, ordering: .relaxed)
        return true
      }
      count = result.original
    }
    return false
  }

  /// - Parameter latency: nil where the request says nothing: it failed before it was sent, or the client left.
  public func finished(latency: NanoTime?, now: NanoTime) {
    let before = inFlight.subtract(1, ordering: .relaxed).oldValue
    precondition(before > 0, "finished what wasn't acquired")
    if let latency {
      let latency = max(1, min(latency, .seconds(3600)))
      latencySum.wrappingAdd(latency, ordering: .relaxed)
      samples.wrappingAdd(1, ordering: .relaxed)
      // Signed: `min` of an Atomic<UInt64> compares as signed in Swift 6.3.
      quickest.min(Int(latency), ordering: .relaxed)
    }
    let end = windowEnd.load(ordering: .relaxed)
    guard now >= end, samples.load(ordering: .relaxed) >= Self.minimumSamples,
      windowEnd.compareExchange(expected: end, desired: now &+ Self.window, ordering: .relaxed).exchanged
    else { return }
    endWindow()
  }

  private func endWindow() {
    let count = samples.exchange(0, ordering: .relaxed)
    let sum = latencySum.exchange(0, ordering: .relaxed)
    let most = peak.exchange(inFlight.load(ordering: .relaxed), ordering: .relaxed)
    let best = min(quickest.load(ordering: .relaxed), formerQuickest.load(ordering: .relaxed))
    guard count > 0, sum > 0 else { return }
    let old = Double(current)
    let number = windows.wrappingAdd(1, ordering: .relaxed).newValue
    if number.isMultiple(of: Self.windowsPerPeriod) {
      formerQuickest.store(quickest.exchange(.max, ordering: .relaxed), ordering: .relaxed)
      limit.store(bounded(old / 2), ordering: .relaxed)
      return
    }
    let mean = Double(sum) / Double(count)
    let gradient = min(1, max(0.5, Self.tolerance * Double(best) / mean))
    let wanted = old * gradient + old.squareRoot()
    // What isn't used says nothing about how much more would do.
    if wanted > old, Double(most) < old / 2 { return }
    let smoothed = old * 0.8 + wanted * 0.2
    limit.store(bounded(wanted > old ? max(smoothed, old + 1) : smoothed), ordering: .relaxed)
  }

  private func bounded(_ value: Double) -> Int {
    min(max(Int(value), minimum.load(ordering: .relaxed)), maximum.load(ordering: .relaxed))
  }
}
