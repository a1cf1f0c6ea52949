import MeshModel
import ProxyCore

/// Limits and faults: whether a request gets as far as a try.
extension Exchange {
  /// false: it was answered, or waits for an injected delay.
  func admit(_ plan: RulePlan) -> Bool {
    guard plan.policy.limits.tryAcquire(.requests) else {
      reply(503, .overflow)
      return false
    }
    holdsRequestSlot = plan.policy.limits
    if let adaptive = plan.policy.adaptiveLimit {
      guard adaptive.tryAcquire() else {
        reply(503, .overflow)
        return false
      }
      holdsAdaptiveSlot = (adaptive, worker.loop.now)
    }
    for buckets in plan.policy.buckets {
      guard case .refused(let wait) = buckets.take(bucketKey(buckets.limit, plan), now: worker.loop.now) else {
        continue
      }
      reply(429, .rateLimited, retryAfter: wait)
      return false
    }
    guard let faults = plan.faults else { return true }
    return inject(faults, plan)
  }

  private func bucketKey(_ limit: RateLimit, _ plan: RulePlan) -> UInt64 {
    var key: UInt64 = 0
    for part in limit.keys {
      let hash: UInt64
      switch part {
      case .clientIdentity: hash = client.identityHash
      case .route: hash = plan.routeHash
      case .header(let name):
        hash =
          head.index(named: name).map { index in
            head.withBytes(of: head.fields[index].value) { StableHash.hash($0) }
          } ?? 0
      }
      key = StableHash.mix(key ^ hash)
    }
    return key
  }

  private func inject(_ faults: FaultInjector, _ plan: RulePlan) -> Bool {
    let injection = faults.draw(random: &worker.loop.random) { index in
      guard let wanted = faults.faults[index].header, let field = head.index(named: wanted.name) else { return false }
      return head.withBytes(of: head.fields[field].value) { value in
        guard wanted.isRegularExpression else { return value.elementsEqual(wanted.value.utf8) }
        return plan.faultPatterns[index]?.matches(value) == true
      }
    }
    if injection.delay > 0 {
      backoff = worker.loop.after(injection.delay) { [unowned self] in
        backoff = nil
        if !abort(injection.abort) { route(plan) }
        eventEnded()
      }
      return false
    }
    return !abort(injection.abort)
  }

  private func abort(_ abort: FaultInjector.Abort?) -> Bool {
    switch abort {
    case nil: return false
    case .status(let status): reply(Int(status), .faultAbort)
    case .grpc(let status): reply(200, .faultAbort, grpcStatus: status)
    }
    return true
  }
}
