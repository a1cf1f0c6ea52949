import MeshModel
import ProxyCore

/// One request and its response, from the routing decision to the last byte. Each connection of HTTP/1.1 uses one for all
/// of its requests, one after another.
///
/// What is decided is decided by `ProxyCore`; here bytes are carried and timers set.
final class Exchange: Timed {
  /// Where no policy speaks of retries: what surely reached no application is sent again.
  static let defaultRetry = RetryPolicy(
    attempts: 2, statuses: [], grpcStatuses: [], onConnectFailure: true, onReset: false)
  /// Timeouts up to this one are kept to the millisecond, longer ones to the loop's timer interval.
  private static let exactTimeout: NanoTime = .seconds(1)

  unowned let worker: Worker
  unowned let downstream: any Downstream
  var client: HTTPClient
  /// The request's, with the rule's filters applied.
  var head = HTTPHead()
  var framing = HTTP1Reader.Framing.none
  /// The request asks for another protocol.
  var isUpgrade = false
  var responseHead = HTTPHead()

  private(set) var view: ServiceView?
  private var viewEpoch: UInt64 = .max
  var plan: RulePlan?
  var retry = RetryState(policy: Exchange.defaultRetry, isIdempotent: false, deadline: nil)
  private(set) var deadline: NanoTime?
  private var deadlineAlarm: Alarm?
  private var isTimed = false

  /// The request's content, kept until it can't be needed for another try.
  var kept: [UInt8] = []
  var requestEnded = false
  var requestTrailers: HTTPHead?
  var isActive = false
  var responseBegan = false
  /// Which backend of the rule; nil without one.
  var backend: Int?
  var attempt: Attempt?
  /// The second try beside it, while neither has answered.
  var hedge: Attempt?
  var hedgeAlarm: Alarm?
  var spare: Attempt?
  /// For a client that has no cookie of the balancer's yet.
  var newCookie: UInt64?
  var tried: [SocketAddress] = []
  /// Tries over connections that turned out to be closed.
  var staleTries = 0
  var backoff: Alarm?
  /// Bytes of the request's path that the route's prefix took.
  var matchedPrefix = 0
  /// Which of the rule's matches took it.
  var matchedBy = 0
  var holdsRequestSlot: CircuitLimits?
  /// With the time at which it was taken.
  var holdsAdaptiveSlot: (limit: AdaptiveLimit, since: NanoTime)?
  var answeredAt: NanoTime?
  /// Of a retry that is under way.
  var holdsRetrySlot: CircuitLimits?
  /// That the request names.
  var session: SessionKeeper.Bound?

  init(worker: Worker, downstream: any Downstream, client: HTTPClient) {
    self.worker = worker
    self.downstream = downstream
    self.client = client
  }

  // MARK: The request

  /// Takes the next request; what holds for it is looked up anew where the mesh has changed.
  func enter() {
    isActive = true
    requestEnded = false
    responseBegan = false
    if viewEpoch != worker.epoch {
      view = worker.view(of: client)
      viewEpoch = worker.epoch
    }
  }

  /// `head` and `framing` are set.
  func begin() {
    enter()
    worker.statistics.requests += 1
    retry = RetryState(policy: Self.defaultRetry, isIdempotent: false, deadline: nil)
    guard let view else { return reply(503, .noCluster) }
    if let group = view.group {
      guard let found = group.match(head) else { return reply(404, .noRoute) }
      matchedPrefix = found.matchedPrefix
      matchedBy = found.match
      plan = view.plan(for: found.rule)
    } else {
      plan = view.plan(for: nil)
    }
    guard let plan else { return }
    if plan.requestTimeout > 0 { setDeadline(worker.loop.now + plan.requestTimeout) }
    guard admit(plan) else { return }
    route(plan)
  }

  /// The filters, and then the first try.
  func route(_ plan: RulePlan) {
    guard !MaxForwards.isSpent(&head) else { return replyAsLast() }
    // As the client sent it, before the filters.
    findSession(plan)
    // Before the filters too, which may change these fields.
    RequestHeaders.prepare(
      &head, clientAddress: client.address, version: downstream.version, options: plan.policy.headers,
      random: &worker.loop.random)
    if let rule = plan.rule {
      guard applyFilters(rule) else { return }
      guard let drawn = session?.backend ?? rule.backend(using: &worker.loop.random) else {
        return reply(500, .noCluster)
      }
      backend = drawn
      guard rule.rule.backends[drawn].invalid.isEmpty else { return reply(500, .noCluster) }
      let filters = rule.backendFilters[drawn]
      guard filters.refusal.isEmpty else { return reply(500, .noCluster) }
      filters.applyToRequest(&head, matchedPrefix: matchedPrefix)
      copy(to: filters.mirrors)
    }
    retry = RetryState(
      policy: plan.retry ?? Self.defaultRetry, isIdempotent: RetryState.isIdempotent(head), deadline: deadline,
      waitsAtLeastBackoff: plan.rule?.rule.retry != nil)
    // During an injected delay.
    if !kept.isEmpty { retry.kept(kept.count) }
    startAttempt()
  }

  private func applyFilters(_ rule: CompiledRule) -> Bool {
    let filters = rule.filters
    guard !filters.isEmpty else { return true }
    guard filters.refusal.isEmpty else {
      reply(500, .noCluster)
      return false
    }
    if let cors = filters.cors, cors.isPreflight(head) {
      responseHead.removeAll()
      cors.respond(toPreflight: head, into: &responseHead)
      replyPrepared()
      return false
    }
    if let redirect = filters.redirect {
      responseHead.removeAll()
      redirect.respond(to: head, matchedPrefix: matchedPrefix, listenerPort: client.port, into: &responseHead)
      replyPrepared()
      return false
    }
    filters.applyToRequest(&head, matchedPrefix: matchedPrefix)
    copy(to: filters.mirrors)
    return true
  }

  func receivedBody(_ bytes: UnsafeRawBufferPointer) {
    guard isActive, !bytes.isEmpty else { return }
    for mirror in mirrors { mirror.sendBody(bytes) }
    if let upstream = attempt?.upstream {
      upstream.sendBody(bytes)
      if upstream.isBlocked { downstream.pauseRequest() }
      if retry.canReplay, !responseBegan {
        if retry.kept(bytes.count) { kept.append(contentsOf: bytes) } else { dropKept() }
      }
      return
    }
    // Until a try is connected all of it is kept, for whichever is; the reading stops at the first piece beyond the limit.
    _ = retry.kept(bytes.count)
    kept.append(contentsOf: bytes)
    if !retry.canReplay { downstream.pauseRequest() }
  }

  /// It has gone to an upstream, and is too long for another.
  func dropKept() {
    kept = []
    retry.dropped()
  }

  func endedBody(trailers: HTTPHead?) {
    guard isActive, !requestEnded else { return }
    requestEnded = true
    requestTrailers = trailers.flatMap { $0.fields.isEmpty ? nil : $0 }
    for mirror in mirrors { mirror.finishRequest(trailers: requestTrailers) }
    attempt?.upstream?.finishRequest(trailers: requestTrailers)
  }

  /// Nothing has moved for too long.
  func endIdle() {
    guard isActive else { return }
    endAttempts(.failure)
    reply(504, .streamIdleTimeout)
    downstream.flush()
  }

  /// How long a connection or an exchange may be without a byte, in nanoseconds.
  var idleTimeout: NanoTime { plan?.policy.idleTimeout ?? view?.policy.idleTimeout ?? Worker.idleTimeout }

  /// What was written to the upstream in this event leaves.
  func flushUpstream() {
    attempt?.upstream?.flush()
    hedge?.upstream?.flush()
    for mirror in mirrors { mirror.flush() }
  }

  /// The client has gone: nobody waits for the response.
  func cancel() {
    guard isActive else { return }
    worker.log(.debug, logLine("given up", .downstreamClosed, ResponseFlag.downstreamClosed.reason))
    if !responseBegan { answeredAt = nil }
    endAttempts(.abandoned)
    finish()
  }

  func downstreamUnblocked() { attempt?.upstream?.resumeResponse() }

  // MARK: The end

  /// Everything of the request is let go; storage stays.
  func finish() {
    isActive = false
    backoff?.cancel()
    backoff = nil
    hedgeAlarm?.cancel()
    hedgeAlarm = nil
    newCookie = nil
    deadlineAlarm?.cancel()
    deadlineAlarm = nil
    deadline = nil
    if isTimed {
      worker.loop.stopTimer(self)
      isTimed = false
    }
    holdsRequestSlot?.release(.requests)
    holdsRequestSlot = nil
    if let (limit, since) = holdsAdaptiveSlot {
      limit.finished(latency: answeredAt.map { $0 - since }, now: worker.loop.now)
      holdsAdaptiveSlot = nil
    }
    answeredAt = nil
    releaseRetrySlot()
    for mirror in mirrors { mirror.orphan() }
    mirrors.removeAll(keepingCapacity: true)
    if kept.capacity > 4096 { kept = [] } else { kept.removeAll(keepingCapacity: true) }
    requestTrailers = nil
    backend = nil
    plan = nil
    session = nil
    staleTries = 0
    tried.removeAll(keepingCapacity: true)
  }

  var mirrors: [MirrorUpstream] = []

  func releaseRetrySlot() {
    holdsRetrySlot?.release(.retries)
    holdsRetrySlot = nil
  }

  // MARK: Time

  private func setDeadline(_ time: NanoTime) {
    deadline = time
    if let alarm = watch(time, { [unowned self] in timedOut() }) { deadlineAlarm = alarm }
  }

  func setDeadline(_ time: NanoTime, of attempt: Attempt) {
    attempt.deadline = time
    attempt.alarm = watch(time) { [unowned self, unowned attempt] in timedOut(attempt) }
  }

  /// An alarm for what is near; for anything else the loop's timer looks, which costs nothing to forget.
  private func watch(_ time: NanoTime, _ strike: @escaping () -> Void) -> Alarm? {
    if time <= worker.loop.now + Self.exactTimeout { return worker.loop.after(time - worker.loop.now, strike) }
    if !isTimed {
      isTimed = true
      worker.loop.startTimer(self)
    }
    return nil
  }

  func timerFired(now: NanoTime) {
    if let deadline, now >= deadline { return timedOut() }
    for attempt in [attempt, hedge] {
      if let attempt, let deadline = attempt.deadline, now >= deadline { timedOut(attempt) }
    }
  }

  private func timedOut() {
    guard isActive else { return }
    // A limit that follows the latency has to see those who waited in vain.
    answeredAt = answeredAt ?? worker.loop.now
    endAttempts(.failure)
    reply(504, .upstreamTimeout)
    downstream.flush()
  }

  /// The response can't be completed: its client has to see that.
  func breakOff(_ flag: ResponseFlag) {
    worker.log(.info, logLine("broken off", flag, flag.reason))
    finish()
    downstream.abortResponse()
  }
}
