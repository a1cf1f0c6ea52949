import MeshModel

/// How many retries a Service's port may have on this node, all workers and clients together: of all tries in the
/// interval so many per cent, and a minimum rate that is always allowed (GEP-3388). It stops a storm of retries: an
/// upstream that fails gets at most 1 / (1 - percent) times its load, by the interval. What quiet seconds have left
/// over can't be spent in one, which would be a storm again: a tenth of the interval has at most double its even part,
/// or the percentage of its own tries where that is more.
public final class SharedRetryBudget: Sendable {
  public let policy: RetryBudget
  private let window: SlidingCounts
  private let minimumWindow: SlidingCounts

  public init(_ policy: RetryBudget = RetryBudget()) {
    self.policy = policy
    window = SlidingCounts(window: .milliseconds(UInt64(policy.interval)))
    minimumWindow = SlidingCounts(window: .milliseconds(UInt64(policy.minimumInterval)))
  }

  /// A request's first try; retries and hedges don't count here.
  public func began(at now: NanoTime) { window.addRequest(at: now) }

  /// Whether one more retry (or hedge) is allowed; it is counted then.
  ///
  /// Each is counted before it is compared, so that workers who ask at once can't exceed the budget together; it may be
  /// that both are refused where one would have fitted.
  public func tryRetry(at now: NanoTime) -> Bool {
    window.addRetry(at: now)
    minimumWindow.addRetry(at: now)
    if minimumWindow.totals(at: now).retries <= UInt64(policy.minimumRate) { return true }
    minimumWindow.removeRetry(at: now)
    let all = window.totals(at: now)
    let latest = window.totals(at: now, tenths: 1)
    if isWithin(all), isWithin(latest) || latest.retries <= max(1, allowance(all.requests) / 5) { return true }
    window.removeRetry(at: now)
    return false
  }

  private var percent: UInt64 { UInt64(min(100, policy.percent)) }

  private func isWithin(_ totals: SlidingCounts.Totals) -> Bool {
    totals.retries * 100 <= (totals.requests + totals.retries) * percent
  }

  /// Retries beside so many requests.
  private func allowance(_ requests: UInt64) -> UInt64 { percent < 100 ? requests * percent / (100 - percent) : .max }
}
