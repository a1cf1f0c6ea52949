import MeshModel

/// A request's retries: what was tried, and after each try whether there is another.
public struct RetryState {
  /// How a try ended without an answer to pass on, or with one that may be retried.
  public enum Failure: Sendable, Hashable {
    /// - Parameters:
    ///   - grpcStatus: of a response without messages (trailers only); nil where it isn't gRPC.
    ///   - retryAfter: by `RetryAfter`; nil where the response has none.
    case response(status: UInt16, grpcStatus: UInt8?, retryAfter: NanoTime?)
    /// Nothing was sent.
    case connectFailure
    /// The upstream reset or closed without an answer.
    case reset
    /// The upstream says that it has done nothing with it: REFUSED_STREAM, or above a GOAWAY's last stream
    /// (RFC 9113 §8.7).
    case refused
    /// No answer in time; retried like a 504, or a reset.
    case perTryTimeout

    /// Whether the upstream can't have acted on the request, so that any method may be retried (RFC 9110 §9.2.2).
    var isUnprocessed: Bool { self == .connectFailure || self == .refused }
  }

  public enum Decision: Sendable, Hashable {
    /// After so many nanoseconds. The breaker's `retries` is held: `CircuitLimits.release(.retries)` at the retry's
    /// end.
    case retry(after: NanoTime)
    case giveUp(Reason)
  }

  public enum Reason: Sendable, Hashable, CaseIterable {
    /// The policy doesn't name that failure.
    case notRetriable
    case attemptsUsed
    case notIdempotent
    /// The request's bytes weren't all kept.
    case bufferExceeded
    case responseStarted
    case budgetUsed
    case breakerOpen
    /// The retry would begin after the request's deadline.
    case deadline
    /// The upstream asks for more patience than there is.
    case retryAfterTooLong

    /// nil: the last try's own flag says it.
    public var flag: ResponseFlag? {
      switch self {
      case .attemptsUsed: .retryLimit
      case .budgetUsed, .breakerOpen: .overflow
      default: nil
      }
    }
  }

  public let policy: RetryPolicy
  public let isIdempotent: Bool
  /// Monotonic, of the whole request; nil: none.
  public let deadline: NanoTime?
  public private(set) var retries: UInt32 = 0
  public private(set) var bufferedBytes = 0
  /// Whether the request's content is within the limit, and so kept whatever becomes of it.
  public private(set) var canReplay = true
  private var isDropped = false
  public private(set) var hasResponse = false

  private let waitsAtLeastBackoff: Bool

  /// - Parameter waitsAtLeastBackoff: a retry never comes earlier than the policy's backoff, as HTTPRoute's `retry.backoff`
  ///   demands; else the full jitter begins at 0.
  public init(policy: RetryPolicy, isIdempotent: Bool, deadline: NanoTime?, waitsAtLeastBackoff: Bool = false) {
    self.policy = policy
    self.isIdempotent = isIdempotent
    self.deadline = deadline
    self.waitsAtLeastBackoff = waitsAtLeastBackoff
  }

  /// RFC 9110 §9.2.2. Methods are case-sensitive.
  public static func isIdempotent(_ head: HTTPHead) -> Bool {
    head.equals(head.method, "GET") || head.equals(head.method, "HEAD") || head.equals(head.method, "PUT")
      || head.equals(head.method, "DELETE") || head.equals(head.method, "OPTIONS")
      || head.equals(head.method, "TRACE")
  }

  /// Bytes of the request's content on their way; false: beyond the limit, what was kept can be dropped as soon as a try
  /// has it.
  @discardableResult public mutating func kept(_ count: Int) -> Bool {
    bufferedBytes += count
    if bufferedBytes > Int(min(policy.bufferLimit, 1 << 20)) { canReplay = false }
    return canReplay
  }

  /// What was kept is gone: it was sent once and can't be sent again.
  public mutating func dropped() { isDropped = true }

  /// Bytes of the response have gone to the client.
  public mutating func responseStarted() { hasResponse = true }

  /// After a try's end.
  public mutating func decide(
    after failure: Failure, now: NanoTime, budget: SharedRetryBudget? = nil, limits: CircuitLimits? = nil,
    random: inout some RandomNumberGenerator
  ) -> Decision {
    guard isNamed(failure) else { return .giveUp(.notRetriable) }
    guard !hasResponse else { return .giveUp(.responseStarted) }
    guard isIdempotent || policy.retriesNonIdempotent || failure.isUnprocessed || isToldByGRPC(failure) else {
      return .giveUp(.notIdempotent)
    }
    // Where no try was connected, all is there still, whatever the limit.
    guard canReplay || failure == .connectFailure && !isDropped else { return .giveUp(.bufferExceeded) }
    guard retries < min(policy.attempts, 20) else { return .giveUp(.attemptsUsed) }
    var delay = Backoff.delay(policy, retry: Int(retries), random: &random)
    if waitsAtLeastBackoff { delay += .milliseconds(UInt64(policy.backoff)) }
    if case .response(_, _, let wanted?) = failure {
      let patience = 10 * NanoTime.milliseconds(UInt64(policy.maximumBackoff))
      guard wanted <= patience else { return .giveUp(.retryAfterTooLong) }
      // The jitter comes on top: all clients were told the same time.
      delay += wanted
    }
    if let deadline, now &+ delay >= deadline { return .giveUp(.deadline) }
    // Last, since they count what they allow.
    if let limits, !limits.tryAcquire(.retries) { return .giveUp(.breakerOpen) }
    if let budget, !budget.tryRetry(at: now) {
      limits?.release(.retries)
      return .giveUp(.budgetUsed)
    }
    retries += 1
    return .retry(after: delay)
  }

  /// A gRPC call is a POST, but a status that the policy names is said by who has dealt with it.
  private func isToldByGRPC(_ failure: Failure) -> Bool {
    if case .response(_, let status?, _) = failure { policy.grpcStatuses.contains(status) } else { false }
  }

  private func isNamed(_ failure: Failure) -> Bool {
    switch failure {
    case .response(let status, let grpcStatus, _):
      policy.statuses.contains(status) || grpcStatus.map(policy.grpcStatuses.contains) ?? false
    case .connectFailure: policy.onConnectFailure
    case .reset: policy.onReset
    case .refused: policy.onReset || policy.onConnectFailure
    // HTTPRoute's `retry`: of connection errors "disconnect, reset, timeout, TCP failure".
    case .perTryTimeout: policy.onReset || policy.statuses.contains(504)
    }
  }
}
