/// An average of latencies that rises at once to a new peak and falls off exponentially with time (as in Finagle): a
/// slow endpoint is noticed by its first slow answer.
struct PeakEWMA {
  /// In which a past latency falls to 1/e.
  static let decay = 10e9
  private static let log2e = 1.442_695_040_888_963_4
  /// A failure counts as the double of what was thought, within these bounds, so that an endpoint which fails fast
  /// doesn't look like a fast one. In nanoseconds.
  private static let failureRange = 1e6...10e9

  /// Nanoseconds at `stamp`.
  private var estimate = 0.0
  private var stamp: NanoTime = 0
  private(set) var hasSample = false

  /// Falls towards 0 while nothing is heard, so that an endpoint which was slow is tried again.
  func value(at now: NanoTime) -> Double { estimate * Self.remainder(from: stamp, to: now) }

  mutating func observe(_ latency: NanoTime, outcome: AttemptOutcome, now: NanoTime) {
    let current = value(at: now)
    var sample = Double(latency)
    switch outcome {
    case .success: break
    case .failure:
      let penalty = min(max(2 * current, Self.failureRange.lowerBound), Self.failureRange.upperBound)
      sample = max(sample, penalty)
    // It would have taken at least so long; how long isn't known.
    case .abandoned: if sample <= current || !hasSample { return }
    }
    if !hasSample || sample >= current {
      estimate = sample
    } else {
      // `current` has the decay in it already; the sample fills what has decayed.
      estimate = current + sample * (1 - Self.remainder(from: stamp, to: now))
    }
    stamp = max(now, stamp)
    hasSample = true
  }

  /// e^(-elapsed/decay) to 1e-6.
  private static func remainder(from start: NanoTime, to now: NanoTime) -> Double {
    guard now > start else { return 1 }
    let exponent = Double(now - start) / decay * log2e
    guard exponent < 60 else { return 0 }
    let whole = Int(exponent)
    // 2^-f by the series of e^-y, y below ln 2.
    let y = (exponent - Double(whole)) / log2e
    let fraction = 1 - y * (1 - y / 2 * (1 - y / 3 * (1 - y / 4 * (1 - y / 5 * (1 - y / 6 * (1 - y / 7))))))
    return fraction / Double(1 << whole)
  }
}
