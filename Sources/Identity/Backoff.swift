/// Exponential backoff with jitter: each delay is drawn from the upper half of a doubling step, so that many who
/// failed together don't come back together.
public struct Backoff: Hashable, Sendable {
  /// Seconds.
  public let minimum: Double
  public let maximum: Double
  public private(set) var failures = 0

  /// - Parameters:
  ///   - minimum: the first step in seconds; above 0.
  ///   - maximum: no delay exceeds it.
  public init(minimum: Double, maximum: Double) {
    self.minimum = minimum
    self.maximum = max(minimum, maximum)
  }

  /// Seconds to wait after one more failure: within half a step and a step.
  public mutating func next(using random: inout some RandomNumberGenerator) -> Double {
    var step = minimum
    for _ in 0..<min(failures, 32) where step < maximum { step *= 2 }
    failures += 1
    step = min(step, maximum)
    return Double.random(in: step / 2...step, using: &random)
  }

  public mutating func reset() { failures = 0 }
}
