import Glibc
import MeshModel
import ProxyCore

extension Exchange {
  func startAttempt() {
    guard let plan, let cluster = cluster(of: plan) else { return reply(500, .noCluster) }
    // Streams of HTTP/2 that become tunnels aren't offered (RFC 9113 §8.5).
    if usesHTTP2(cluster), head.equals(head.method, "CONNECT") {
      return reply(501, .noRoute, because: "CONNECT is not served over HTTP/2")
    }
    let now = worker.loop.now
    let index =
      (tried.isEmpty ? session?.endpoint : nil).flatMap { cluster.endpoints.persistent($0) }
      ?? cluster.endpoints.choose(
        hash: balancingHash(cluster.policy.loadBalancer), excluding: tried, now: now, random: &worker.loop.random)
    guard let index else { return reply(503, .noHealthyUpstream) }
    if tried.isEmpty, retry.retries == 0, staleTries == 0 { cluster.policy.budget.began(at: now) }
    attempt = makeAttempt(cluster, index, plan)
    guard let attempt else { return reply(503, .overflow) }
    open(attempt)
    planHedge(plan)
  }

  /// Of the backend, as the present snapshot has it.
  func cluster(of plan: RulePlan) -> Cluster? {
    let cluster = plan.cluster(backend ?? 0, worker)
    cluster?.refresh(worker, here: worker.snapshot.workload(id: client.workload))
    return cluster
  }

  /// nil: the backend has as many requests as it may. The Service that was asked counts them by itself: where it is its
  /// own backend, once.
  func makeAttempt(_ cluster: Cluster, _ index: Int, _ plan: RulePlan) -> Attempt? {
    let limits = cluster.policy.limits === plan.policy.limits ? nil : cluster.policy.limits
    guard limits?.tryAcquire(.requests) != false else { return nil }
    let target = cluster.targets[index]
    let attempt = spare ?? Attempt(exchange: self)
    spare = nil
    attempt.cluster = cluster
    attempt.token = cluster.endpoints.started(index)
    attempt.target = target
    attempt.began = worker.loop.now
    attempt.requestSlot = limits
    tried.append(target.address)
    if plan.perTryTimeout > 0 { setDeadline(worker.loop.now + plan.perTryTimeout, of: attempt) }
    return attempt
  }

  func open(_ attempt: Attempt) {
    guard let cluster = attempt.cluster, let target = attempt.target else { return }
    let key = UpstreamPool.Key(source: client.workload, target: target, limits: cluster.policy.limits)
    let isHTTP2 = usesHTTP2(cluster)
    // After one that turned out to be closed, a connection that surely isn't.
    if staleTries == 0 || isHTTP2, let upstream = worker.upstreams.take(key, isHTTP2: isHTTP2) {
      return send(over: upstream, attempt)
    }
    connect(key, isHTTP2: isHTTP2, cluster, attempt)
  }

  private func connect(_ key: UpstreamPool.Key, isHTTP2: Bool, _ cluster: Cluster, _ attempt: Attempt) {
    var slot: ConnectionSlot?
    if !isHTTP2 {
      slot = worker.upstreams.takeSlot(of: cluster)
      guard slot != nil else { return wait(cluster, attempt) }
    }
    attempt.generation += 1
    let generation = attempt.generation
    var isReturning = false
    let opening = worker.upstreams.open(
      key, isHTTP2: isHTTP2, for: client, cluster: cluster, slot: slot, worker: worker
    ) { [weak self, weak attempt] result in
      guard let self, let attempt, isCurrent(attempt), attempt.generation == generation else {
        if case .success(let upstream) = result { upstream.abandon() }
        return
      }
      attempt.opening = nil
      switch result {
      case .success(let upstream): send(over: upstream, attempt)
      case .failure(let failure): failed(attempt, failure, wasReused: false)
      }
      // Where it came at once, the event that asked for it sees to that.
      if isReturning { eventEnded() }
    }
    isReturning = true
    if attempt.generation == generation, isCurrent(attempt), !opening.isSettled {
      attempt.opening = opening
    }
  }

  /// Until a connection is free, no longer than connecting may take.
  private func wait(_ cluster: Cluster, _ attempt: Attempt) {
    attempt.waiter = cluster.waitForSlot(patience: cluster.policy.connectTimeout, worker.loop) {
      [unowned self, unowned attempt] outcome in
      attempt.waiter = nil
      switch outcome {
      case .mayOpen: open(attempt)
      case .gaveUp: failed(attempt, .overflow, wasReused: false)
      }
      eventEnded()
    }
    if attempt.waiter == nil { failed(attempt, .overflow, wasReused: false) }
  }

  private func send(over upstream: any Upstream, _ attempt: Attempt) {
    attempt.upstream = upstream
    upstream.owner = attempt
    upstream.send(head, framing: framing, upgrade: isUpgrade)
    if !kept.isEmpty { kept.withUnsafeBytes { upstream.sendBody($0) } }
    if !retry.canReplay { dropKept() }
    // A hedge goes out only once the request is whole.
    if requestEnded { upstream.finishRequest(trailers: requestTrailers) }
    if upstream.isBlocked { downstream.pauseRequest() } else if !requestEnded { downstream.resumeRequest() }
  }

  /// Whether a Service's endpoints are spoken to by HTTP/2: where its port says so, or where it says nothing else and the
  /// client does.
  func usesHTTP2(_ cluster: Cluster) -> Bool {
    switch cluster.traffic?.appProtocol {
    case .http2, .grpc: true
    case .http, .unknown: downstream.isHTTP2
    default: false
    }
  }

  // MARK: What the upstream says

  func responded(
    _ attempt: Attempt, _ head: inout HTTPHead, _ framing: HTTP1Reader.Framing, _ isInformational: Bool
  ) {
    guard isCurrent(attempt) else { return }
    if isInformational {
      if hedge == nil { downstream.inform(head) }
      if downstream.isBlocked { attempt.upstream?.pauseResponse() }
      return
    }
    attempt.answered = (worker.loop.now, head.status >= 500 || head.saysGRPCFailure ? .failure : .success)
    if !attempt.isHedge { plan?.hedger?.record(worker.loop.now - attempt.began) }
    if retries(attempt, head) { return }
    keepOnly(attempt)
    responseBegan = true
    answeredAt = worker.loop.now
    retry.responseStarted()
    kept.removeAll(keepingCapacity: kept.capacity <= 4096)
    releaseRetrySlot()
    finishHead(&head, attempt)
    downstream.respond(head, framing: framing)
  }

  /// Whether the response is one to be thrown away for another try.
  private func retries(_ attempt: Attempt, _ head: HTTPHead) -> Bool {
    let status = UInt16(clamping: head.status)
    guard !retry.policy.statuses.isEmpty || !retry.policy.grpcStatuses.isEmpty else { return false }
    let grpc = head.first("grpc-status").flatMap { UInt8(head.text($0)) }
    guard retry.policy.statuses.contains(status) || grpc.map(retry.policy.grpcStatuses.contains) == true else {
      return false
    }
    if hedge != nil {
      // The other try may do better.
      end(attempt, .failure)?.abandon()
      return true
    }
    let after = head.first("retry-after").flatMap { slice in
      head.withBytes(of: slice) { RetryAfter.parse($0, unixTime: Int64(time(nil))) }
    }
    let decision = decide(after: .response(status: status, grpcStatus: grpc, retryAfter: after))
    guard case .retry(let delay) = decision else { return false }
    endAttempts(.failure)
    again(after: delay)
    return true
  }

  func received(_ attempt: Attempt, _ bytes: UnsafeRawBufferPointer) {
    guard self.attempt === attempt, responseBegan else { return }
    downstream.sendBody(bytes)
    if downstream.isBlocked { attempt.upstream?.pauseResponse() }
  }

  func responseEnded(_ attempt: Attempt, _ trailers: HTTPHead?) {
    guard self.attempt === attempt, responseBegan else { return }
    if trailers?.saysGRPCFailure == true { attempt.answered?.outcome = .failure }
    end(attempt, .success)
    finish()
    downstream.finishResponse(trailers: trailers.flatMap { $0.fields.isEmpty ? nil : $0 })
  }

  func upgraded(_ attempt: Attempt, _ upgrade: Upgrade) {
    guard self.attempt === attempt else { return upgrade.refuse() }
    var upgrade = upgrade
    upgrade.idleTimeout = idleTimeout
    end(attempt, .success)
    finish()
    downstream.upgrade(to: upgrade)
  }

  func failed(_ attempt: Attempt, _ failure: UpstreamFailure, wasReused: Bool) {
    guard isCurrent(attempt) else { return }
    attempt.upstream = nil
    attempt.answered = nil
    if case .timeout = failure { answeredAt = worker.loop.now }
    let isStale = isStale(failure, wasReused)
    let address = attempt.target?.address
    end(attempt, failure.isOfTheEndpoint && !isStale ? .failure : .abandoned)
    guard !responseBegan else { return breakOff(failure.flag) }
    // The other try goes on.
    guard self.attempt == nil else { return }
    hedgeAlarm?.cancel()
    hedgeAlarm = nil
    if isStale {
      staleTries += 1
      if let index = tried.lastIndex(where: { $0 == address }) { tried.remove(at: index) }
      return startAttempt()
    }
    // Another try would meet the same limit.
    if case .overflow = failure { return reply(failure.status, failure.flag) }
    let decision = decide(after: RetryState.Failure(failure))
    guard case .retry(let delay) = decision else {
      if case .giveUp(let reason) = decision, retry.retries > 0, let flag = reason.flag {
        return reply(failure.status, flag)
      }
      return reply(failure.status, failure.flag)
    }
    again(after: delay)
  }

  /// A connection that was idle may have been closed by its server just then: nothing has been done with the request,
  /// and it says nothing about the endpoint. Once: what fails again has another reason (RFC 9110 §9.2.2).
  private func isStale(_ failure: UpstreamFailure, _ wasReused: Bool) -> Bool {
    guard case .closed = failure else { return false }
    return wasReused && !responseBegan && retry.isIdempotent && retry.canReplay && staleTries == 0
  }

  private func decide(after failure: RetryState.Failure) -> RetryState.Decision {
    releaseRetrySlot()
    let policy = plan.flatMap(cluster)?.policy
    let decision = retry.decide(
      after: failure, now: worker.loop.now, budget: policy?.budget, limits: policy?.limits,
      random: &worker.loop.random)
    if case .retry = decision { holdsRetrySlot = policy?.limits }
    return decision
  }

  private func again(after delay: NanoTime) {
    worker.statistics.retries += 1
    backoff = worker.loop.after(delay) { [unowned self] in
      backoff = nil
      startAttempt()
      eventEnded()
    }
  }

  /// What this event has written leaves.
  func eventEnded() {
    flushUpstream()
    downstream.flush()
  }
}
