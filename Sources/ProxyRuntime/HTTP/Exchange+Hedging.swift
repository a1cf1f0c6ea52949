import ProxyCore

/// A second try beside the first.
extension Exchange {
  /// A second try once the first takes longer than most, if the request is whole and may be sent twice.
  func planHedge(_ plan: RulePlan) {
    // The first try may have ended the request already, and a session stays at its endpoint.
    guard isActive, session == nil, attempt != nil, hedge == nil, hedgeAlarm == nil, let delay = plan.hedger?.delay,
      retry.isIdempotent
    else { return }
    hedgeAlarm = worker.loop.after(delay) { [weak self] in
      guard let self else { return }
      hedgeAlarm = nil
      startHedge()
      eventEnded()
    }
  }

  private func startHedge() {
    guard isActive, !responseBegan, requestEnded, retry.canReplay, let plan, attempt != nil, hedge == nil,
      let cluster = cluster(of: plan),
      let index = cluster.endpoints.choose(
        hash: nil, excluding: tried, now: worker.loop.now, random: &worker.loop.random),
      let second = makeHedge(cluster, index, plan)
    else { return }
    worker.statistics.retries += 1
    hedge = second
    open(second)
  }

  /// Within the limits of retries: nil where there is no room for another.
  private func makeHedge(_ cluster: Cluster, _ index: Int, _ plan: RulePlan) -> Attempt? {
    let limits = cluster.policy.limits
    guard limits.tryAcquire(.retries) else { return nil }
    guard cluster.policy.budget.tryRetry(at: worker.loop.now), let second = makeAttempt(cluster, index, plan) else {
      limits.release(.retries)
      return nil
    }
    second.retrySlot = limits
    second.isHedge = true
    return second
  }

  /// The first to answer has won.
  func keepOnly(_ attempt: Attempt) {
    hedgeAlarm?.cancel()
    hedgeAlarm = nil
    if hedge === attempt { swap(&self.attempt, &hedge) }
    if let loser = hedge { end(loser, .abandoned)?.abandon() }
  }
}
