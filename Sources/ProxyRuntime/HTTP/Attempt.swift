import ProxyCore

/// One try of a request at one endpoint.
final class Attempt: UpstreamOwner {
  /// Informational responses (1xx) before the final one; HTTP sets no bound (RFC 9110 §15.2).
  private static let informationalBound = 100

  unowned let exchange: Exchange
  var cluster: Cluster?
  var token: EndpointAttempt?
  var target: OutboundRoute.Endpoint?
  var upstream: (any Upstream)?
  var opening: (any UpstreamOpening)?
  var waiter: ConnectionWaiter?
  var began: NanoTime = 0
  /// The time of the response's head, and what it says of the endpoint.
  var answered: (at: NanoTime, outcome: AttemptOutcome)?
  var alarm: Alarm?
  /// Where no alarm says it.
  var deadline: NanoTime?
  var isHedge = false
  /// Its places among the backend's requests, and as a hedge among the retries.
  var requestSlot: CircuitLimits?
  var retrySlot: CircuitLimits?
  /// Informational responses so far.
  var informed = 0
  /// Counts its uses, so that what one waited for never comes to the next.
  var generation = 0

  init(exchange: Exchange) { self.exchange = exchange }

  func responded(_ head: inout HTTPHead, framing: HTTP1Reader.Framing, isInformational: Bool) {
    if isInformational {
      informed += 1
      guard informed <= Self.informationalBound else {
        return exchange.giveUp(self, .malformed("informational responses without end"))
      }
    }
    exchange.responded(self, &head, framing, isInformational)
  }

  func received(_ bytes: UnsafeRawBufferPointer) { exchange.received(self, bytes) }

  func responseEnded(trailers: HTTPHead?) {
    upstream = nil
    exchange.responseEnded(self, trailers)
  }

  func upgraded(to upgrade: Upgrade) {
    upstream = nil
    exchange.upgraded(self, upgrade)
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
  /// Whether it is one of this request's tries, and not one of those that were given up.
  func isCurrent(_ attempt: Attempt) -> Bool { self.attempt === attempt || hedge === attempt }

  /// Takes a try out of the exchange and tells the balancer how it went.
  @discardableResult
  func end(_ attempt: Attempt, _ outcome: AttemptOutcome) -> (any Upstream)? {
    if self.attempt === attempt {
      self.attempt = hedge
      hedge = nil
    } else if hedge === attempt {
      hedge = nil
    }
    attempt.alarm?.cancel()
    attempt.alarm = nil
    attempt.deadline = nil
    attempt.opening?.cancel()
    attempt.opening = nil
    attempt.waiter?.cancel()
    attempt.waiter = nil
    attempt.requestSlot?.release(.requests)
    attempt.requestSlot = nil
    attempt.retrySlot?.release(.retries)
    attempt.retrySlot = nil
    if let token = attempt.token {
      let now = worker.loop.now
      attempt.cluster?.endpoints.finished(
        token, outcome: attempt.answered?.outcome ?? outcome, latency: (attempt.answered?.at ?? now) - attempt.began,
        now: now)
    }
    attempt.token = nil
    attempt.answered = nil
    attempt.isHedge = false
    attempt.informed = 0
    let upstream = attempt.upstream
    attempt.upstream = nil
    upstream?.owner = nil
    attempt.cluster = nil
    attempt.target = nil
    attempt.generation += 1
    spare = attempt
    return upstream
  }

  /// The try's own time is over, which is for the whole response (Gateway API, `backendRequest`): another may be made,
  /// unless the client has a part of this one's.
  func timedOut(_ attempt: Attempt) {
    guard isCurrent(attempt) else { return }
    guard responseBegan else { return giveUp(attempt, .timeout) }
    attempt.answered?.outcome = .failure
    endAttempts(.failure)
    breakOff(.upstreamTimeout)
  }

  /// Ends a try that hasn't answered, and whatever its upstream still does for it.
  func giveUp(_ attempt: Attempt, _ failure: UpstreamFailure) {
    guard isCurrent(attempt), !responseBegan else { return }
    let upstream = attempt.upstream
    upstream?.owner = nil
    attempt.upstream = nil
    upstream?.abandon()
    failed(attempt, failure, wasReused: false)
    eventEnded()
  }

  /// All that is under way for the request.
  func endAttempts(_ outcome: AttemptOutcome) {
    hedgeAlarm?.cancel()
    hedgeAlarm = nil
    while let attempt { end(attempt, outcome)?.abandon() }
  }
}
