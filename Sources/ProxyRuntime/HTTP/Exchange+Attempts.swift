import Glibc
import MeshModel
import ProxyCore

/// One try of a request at one endpoint.
final class Attempt: UpstreamOwner {
  unowned let exchange: Exchange
  var cluster: Cluster?
  var token: EndpointAttempt?
  var target: OutboundRoute.Endpoint?
  var upstream: (any Upstream)?
  var opening: StreamOpening?
  var began: NanoTime = 0
  var alarm: Alarm?
  /// Counts its uses, so that what one waited for never comes to the next.
  var generation = 0

  init(exchange: Exchange) { self.exchange = exchange }

  func responded(_ head: inout HTTPHead, framing: HTTP1Reader.Framing, isInformational: Bool) {
    exchange.responded(self, &head, framing, isInformational)
  }

  func received(_ bytes: UnsafeRawBufferPointer) { exchange.received(self, bytes) }

  func responseEnded(trailers: HTTPHead?) {
    upstream = nil
    exchange.responseEnded(self, trailers)
  }

  func upgraded(to stream: any ByteStream, pending: UnsafeRawBufferPointer) {
    upstream = nil
    exchange.upgraded(self, stream, pending)
  }

  func upstreamFailed(_ failure: UpstreamFailure) {
    let wasReused = upstream?.isReused == true
    upstream = nil
    exchange.failed(self, failure, wasReused: wasReused)
  }

  func upstreamUnblocked() { if exchange.attempt === self { exchange.downstream.resumeRequest() } }
  func eventEnded() { exchange.eventEnded() }
}

extension Exchange {
  func startAttempt() {
    guard let plan, let cluster = plan.clusters[backend ?? 0] else { return reply(500, .noCluster) }
    cluster.refresh(worker, here: worker.snapshot.workload(id: client.workload))
    let now = worker.loop.now
    let index =
      cookie.flatMap { cluster.endpoints.persistent($0) }
      ?? cluster.endpoints.choose(
        hash: balancingHash(cluster.policy.loadBalancer), excluding: tried, now: now, random: &worker.loop.random)
    guard let index else { return reply(503, .noHealthyUpstream) }
    let target = cluster.targets[index]
    let attempt = spare ?? Attempt(exchange: self)
    spare = nil
    attempt.cluster = cluster
    attempt.token = cluster.endpoints.started(index)
    attempt.target = target
    attempt.began = now
    self.attempt = attempt
    tried.append(target.address)
    if plan.perTryTimeout > 0 {
      attempt.alarm = worker.loop.after(plan.perTryTimeout) { [unowned self, unowned attempt] in
        guard self.attempt === attempt, !responseBegan else { return }
        attempt.upstream?.abandon()
        attempt.upstream = nil
        failed(attempt, .timeout, wasReused: false)
        eventEnded()
      }
    }
    let key = UpstreamPool.Key(source: client.workload, target: target)
    let isHTTP2 = usesHTTP2(cluster)
    if let upstream = worker.upstreams.take(key, isHTTP2: isHTTP2) { return send(over: upstream, attempt) }
    connect(key, isHTTP2: isHTTP2, cluster, attempt)
  }

  private func connect(_ key: UpstreamPool.Key, isHTTP2: Bool, _ cluster: Cluster, _ attempt: Attempt) {
    attempt.generation += 1
    let generation = attempt.generation
    var isReturning = false
    let opening = worker.upstreams.open(
      key, isHTTP2: isHTTP2, for: client, timeout: cluster.policy.connectTimeout, worker: worker
    ) { [weak self, weak attempt] result in
      guard let self, let attempt, self.attempt === attempt, attempt.generation == generation else {
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
    if attempt.generation == generation, self.attempt === attempt, opening?.isSettled == false {
      attempt.opening = opening
    }
  }

  private func send(over upstream: any Upstream, _ attempt: Attempt) {
    attempt.upstream = upstream
    upstream.owner = attempt
    upstream.send(head, framing: framing, upgrade: isUpgrade)
    if !kept.isEmpty { kept.withUnsafeBytes { upstream.sendBody($0) } }
    if !retry.canReplay { kept = [] }
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

  /// Takes the try out of the exchange and tells the balancer how it went.
  @discardableResult
  func endAttempt(_ outcome: AttemptOutcome) -> (any Upstream)? {
    guard let attempt else { return nil }
    self.attempt = nil
    attempt.alarm?.cancel()
    attempt.alarm = nil
    attempt.opening?.cancel()
    attempt.opening = nil
    settle(attempt, outcome)
    let upstream = attempt.upstream
    attempt.upstream = nil
    upstream?.owner = nil
    attempt.cluster = nil
    attempt.target = nil
    attempt.generation += 1
    spare = attempt
    return upstream
  }

  /// Once for each try: with the response's head, or with its failure.
  private func settle(_ attempt: Attempt, _ outcome: AttemptOutcome) {
    guard let token = attempt.token else { return }
    attempt.token = nil
    let now = worker.loop.now
    attempt.cluster?.endpoints.finished(token, outcome: outcome, latency: now - attempt.began, now: now)
  }

  // MARK: What the upstream says

  func responded(
    _ attempt: Attempt, _ head: inout HTTPHead, _ framing: HTTP1Reader.Framing, _ isInformational: Bool
  ) {
    guard self.attempt === attempt else { return }
    if isInformational { return downstream.inform(head) }
    attempt.alarm?.cancel()
    attempt.alarm = nil
    if retries(head) { return }
    responseBegan = true
    answeredAt = worker.loop.now
    retry.responseStarted()
    kept.removeAll(keepingCapacity: kept.capacity <= 4096)
    releaseRetrySlot()
    finishHead(&head, attempt)
    downstream.respond(head, framing: framing)
  }

  /// Whether the response is one to be thrown away for another try.
  private func retries(_ head: HTTPHead) -> Bool {
    let status = UInt16(clamping: head.status)
    guard !retry.policy.statuses.isEmpty || !retry.policy.grpcStatuses.isEmpty else { return false }
    let grpc = head.first("grpc-status").flatMap { UInt8(head.text($0)) }
    guard retry.policy.statuses.contains(status) || grpc.map(retry.policy.grpcStatuses.contains) == true else {
      return false
    }
    let after = head.first("retry-after").flatMap { slice in
      head.withBytes(of: slice) { RetryAfter.parse($0, unixTime: Int64(time(nil))) }
    }
    let decision = decide(after: .response(status: status, grpcStatus: grpc, retryAfter: after))
    guard case .retry(let delay) = decision else { return false }
    endAttempt(.failure)?.abandon()
    again(after: delay)
    return true
  }

  func received(_ attempt: Attempt, _ bytes: UnsafeRawBufferPointer) {
    guard self.attempt === attempt else { return }
    downstream.sendBody(bytes)
    if downstream.isBlocked { attempt.upstream?.pauseResponse() }
  }

  func responseEnded(_ attempt: Attempt, _ trailers: HTTPHead?) {
    guard self.attempt === attempt else { return }
    endAttempt(.success)
    finish()
    downstream.finishResponse(trailers: trailers.flatMap { $0.fields.isEmpty ? nil : $0 })
  }

  func upgraded(_ attempt: Attempt, _ stream: any ByteStream, _ pending: UnsafeRawBufferPointer) {
    guard self.attempt === attempt else { return stream.reset() }
    endAttempt(.success)
    finish()
    downstream.upgrade(to: stream, pending: pending)
  }

  func failed(_ attempt: Attempt, _ failure: UpstreamFailure, wasReused: Bool) {
    guard self.attempt === attempt else { return }
    attempt.upstream = nil
    endAttempt(.failure)
    guard !responseBegan else { return breakOff() }
    // A connection that was idle may have been closed by its server just then: nothing has been done with the request.
    if wasReused, retry.isIdempotent, retry.canReplay, tried.count < 4, case .closed = failure {
      tried.removeLast()
      return startAttempt()
    }
    let decision = decide(after: RetryState.Failure(failure))
    guard case .retry(let delay) = decision else {
      if case .giveUp(let reason) = decision, retry.retries > 0, let flag = reason.flag {
        return reply(failure.status, flag)
      }
      return reply(failure.status, failure.flag)
    }
    again(after: delay)
  }

  private func decide(after failure: RetryState.Failure) -> RetryState.Decision {
    releaseRetrySlot()
    let traffic = view?.traffic
    let decision = retry.decide(
      after: failure, now: worker.loop.now, budget: traffic?.budget, limits: traffic?.limits,
      random: &worker.loop.random)
    if case .retry = decision { holdsRetrySlot = traffic?.limits }
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

extension RetryState.Failure {
  init(_ failure: UpstreamFailure) {
    switch failure {
    case .connect: self = .connectFailure
    case .closed, .reset, .malformed, .overflow: self = .reset
    case .refused: self = .refused
    case .timeout: self = .perTryTimeout
    }
  }
}

extension UpstreamFailure {
  /// As Envoy answers.
  var status: Int {
    switch self {
    case .connect, .closed, .reset, .refused, .overflow: 503
    case .malformed: 502
    case .timeout: 504
    }
  }

  var flag: ResponseFlag {
    switch self {
    case .connect: .connectFailure
    case .closed: .upstreamTermination
    case .reset, .refused: .upstreamReset
    case .overflow: .overflow
    case .malformed: .upstreamProtocolError
    case .timeout: .upstreamTimeout
    }
  }
}
