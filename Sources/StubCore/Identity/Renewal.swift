/// When the certificate is renewed. Pure: times are seconds since 1970 and passed in.
public struct Renewal: Equatable {
  /// A certificate's start is put back by so much for slow clocks; its life is counted without.
  static let backdating: Int64 = 3900

  public private(set) var nextAttempt: Int64
  public private(set) var notAfter: Int64?
  public private(set) var lastError: String?
  private var backoff = Backoff(minimum: 1, maximum: 60)

  /// None yet: due at once.
  public init(now: Int64) { nextAttempt = now }

  /// Due again at half of its life, give or take 10 %.
  public mutating func succeeded(
    notBefore: Int64, notAfter: Int64, now: Int64, using random: inout some RandomNumberGenerator
  ) {
    let made = min(notBefore + Self.backdating, now)
    let half = Double(notAfter - made) / 2
    nextAttempt = made + Int64(half * Double.random(in: 0.9...1.1, using: &random))
    self.notAfter = notAfter
    lastError = nil
    backoff.reset()
  }

  public mutating func failed(_ reason: String, now: Int64, using random: inout some RandomNumberGenerator) {
    lastError = reason
    nextAttempt = now + Int64(backoff.next(using: &random).rounded(.up))
  }

  /// Nothing is due while an attempt runs.
  public mutating func began(now: Int64) { nextAttempt = now + 30 }

  public func isDue(now: Int64) -> Bool { now >= nextAttempt }

  public func isValid(now: Int64) -> Bool { notAfter.map { now < $0 } ?? false }
}

/// Waits between attempts: each doubled, with jitter over its upper half.
public struct Backoff: Equatable {
  private let minimum: Double
  private let maximum: Double
  private var current: Double

  /// Seconds.
  public init(minimum: Double, maximum: Double) {
    self.minimum = minimum
    self.maximum = maximum
    current = minimum
  }

  public mutating func next(using random: inout some RandomNumberGenerator) -> Double {
    defer { current = min(current * 2, maximum) }
    return current * Double.random(in: 0.5...1, using: &random)
  }

  public mutating func reset() { current = minimum }
}
