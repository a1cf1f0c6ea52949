import MeshModel

/// What the node counts for one policy at one port, all workers together. Kept over changes that don't concern it, since
/// requests under way hold it.
struct PolicyCounters: Sendable {
  /// Each nil where the policy says nothing of it.
  let limits: CircuitLimits?
  let budget: SharedRetryBudget?
  let adaptiveLimit: AdaptiveLimit?
  /// In the order of the policy's rate limits.
  let buckets: [TokenBuckets]

  /// - Parameters:
  ///   - previous: of the policy as it was.
  ///   - inherited: limits whose policy has gone, and whose place this one takes.
  ///   - now: for limits that begin.
  init(_ policy: TrafficPolicy, previous: PolicyCounters?, inherited: CircuitLimits?, now: NanoTime) {
    if let breaker = policy.circuitBreaker {
      limits = previous?.limits ?? inherited ?? CircuitLimits()
      limits?.update(breaker)
    } else {
      limits = nil
    }
    if let budget = policy.retryBudget {
      self.budget = previous?.budget.flatMap { $0.policy == budget ? $0 : nil } ?? SharedRetryBudget(budget)
    } else {
      budget = nil
    }
    if let adaptive = policy.adaptiveConcurrency {
      adaptiveLimit = previous?.adaptiveLimit ?? AdaptiveLimit(adaptive, now: now)
      adaptiveLimit?.update(adaptive)
    } else {
      adaptiveLimit = nil
    }
    var old = previous?.buckets ?? []
    var random = SystemRandomNumberGenerator()
    buckets = policy.rateLimits.map { limit in
      if let index = old.firstIndex(where: { $0.limit == limit }) { return old.remove(at: index) }
      return TokenBuckets(limit, seed: random.next(), now: now)
    }
  }
}
