import Foundation

/// When one identity's certificate is renewed. Pure: the time and the randomness are passed in.
public struct RotationSchedule: Hashable, Sendable {
  public enum State: String, Hashable, Sendable {
    /// A certificate that is not due yet.
    case valid
    /// Valid still, and past the time to renew it.
    case renewing
    /// Its time is over.
    case expired
    /// There was none yet.
    case missing
  }

  /// When the next attempt is due.
  public private(set) var nextAttempt: Date
  public private(set) var notAfter: Date?
  /// Why the last attempt failed; nil after a success.
  public private(set) var lastError: String?
  private var inFlight = false
  private var backoff: Backoff

  /// No certificate yet: due at once.
  ///
  /// - Parameter retries: bounds of the wait after a failure, in seconds.
  public init(now: Date, retries: ClosedRange<Double> = 1...60) {
    nextAttempt = now
    backoff = Backoff(minimum: retries.lowerBound, maximum: retries.upperBound)
  }

  /// A certificate has come (or was loaded): due again at half of its life, give or take 10 %.
  public mutating func succeeded(
    _ certificate: IssuedIdentity, now: Date, using random: inout some RandomNumberGenerator
  ) {
    succeeded(notBefore: certificate.notBefore, notAfter: certificate.notAfter, now: now, using: &random)
  }

  mutating func succeeded(
    notBefore: Date, notAfter: Date, now: Date, using random: inout some RandomNumberGenerator
  ) {
    inFlight = false
    lastError = nil
    backoff.reset()
    self.notAfter = notAfter
    // Its life begins when it was made, not at the start that was put back for slow clocks; less far back where its CA is
    // young. By a clock that lags it comes before that.
    let made = min(notBefore.addingTimeInterval(CertificateAuthority.backdating), now)
    let half = notAfter.timeIntervalSince(made) / 2
    nextAttempt = made.addingTimeInterval(half * Double.random(in: 0.9...1.1, using: &random))
  }

  /// An attempt begins; nothing is due until it ends.
  public mutating func began() { inFlight = true }

  /// The attempt failed: due again after a backoff.
  public mutating func failed(_ reason: String, now: Date, using random: inout some RandomNumberGenerator) {
    inFlight = false
    lastError = reason
    nextAttempt = now.addingTimeInterval(backoff.next(using: &random))
  }

  /// What kept an attempt from succeeding may be over: what waits after a failure is due now.
  public mutating func retry(now: Date) {
    guard lastError != nil, !inFlight else { return }
    backoff.reset()
    nextAttempt = min(nextAttempt, now)
  }

  public func isDue(now: Date) -> Bool { !inFlight && now >= nextAttempt }

  public func state(now: Date) -> State {
    guard let notAfter else { return .missing }
    if now >= notAfter { return .expired }
    return inFlight || lastError != nil || now >= nextAttempt ? .renewing : .valid
  }
}
