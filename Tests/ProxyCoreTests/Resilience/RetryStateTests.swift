import MeshModel
import Testing

@testable import ProxyCore

@Suite struct RetryStateTests {
  private let unavailable = RetryState.Failure.response(status: 503, grpcStatus: nil, retryAfter: nil)

  private func decide(
    _ failure: RetryState.Failure, _ policy: RetryPolicy = RetryPolicy(), isIdempotent: Bool = true,
    deadline: NanoTime? = nil, prepare: (inout RetryState) -> Void = { _ in }
  ) -> RetryState.Decision {
    var random = SeededRandom(state: 71)
    var state = RetryState(policy: policy, isIdempotent: isIdempotent, deadline: deadline)
    prepare(&state)
    return state.decide(after: failure, now: .seconds(1), random: &random)
  }

  private func isRetry(_ decision: RetryState.Decision) -> Bool {
    if case .retry = decision { return true }
    return false
  }

  @Test func whatThePolicyNames() {
    #expect(isRetry(decide(unavailable)))
    #expect(decide(.response(status: 500, grpcStatus: nil, retryAfter: nil)) == .giveUp(.notRetriable))
    #expect(isRetry(decide(.response(status: 200, grpcStatus: 14, retryAfter: nil))))
    #expect(decide(.response(status: 200, grpcStatus: 13, retryAfter: nil)) == .giveUp(.notRetriable))
    #expect(isRetry(decide(.connectFailure)))
    #expect(decide(.connectFailure, RetryPolicy(onConnectFailure: false)) == .giveUp(.notRetriable))
    #expect(isRetry(decide(.reset)))
    #expect(decide(.reset, RetryPolicy(onReset: false)) == .giveUp(.notRetriable))
    #expect(isRetry(decide(.refused, RetryPolicy(onReset: false))))
    #expect(decide(.refused, RetryPolicy(onConnectFailure: false, onReset: false)) == .giveUp(.notRetriable))
    #expect(isRetry(decide(.perTryTimeout)))
    #expect(isRetry(decide(.perTryTimeout, RetryPolicy(statuses: [503]))))
    #expect(isRetry(decide(.perTryTimeout, RetryPolicy(statuses: [504], onReset: false))))
    #expect(decide(.perTryTimeout, RetryPolicy(statuses: [503], onReset: false)) == .giveUp(.notRetriable))
  }

  /// HTTPRoute's `retry.backoff`: never earlier. A policy's own begins at 0.
  @Test func atLeastTheBackoff() {
    let policy = RetryPolicy(attempts: 3, backoff: 40, maximumBackoff: 80)
    func delays(_ waits: Bool) -> [NanoTime] {
      var random = SeededRandom(state: 5)
      return (0..<200).flatMap { _ in
        var state = RetryState(policy: policy, isIdempotent: true, deadline: nil, waitsAtLeastBackoff: waits)
        return (0..<3).compactMap { _ -> NanoTime? in
          guard case .retry(let delay) = state.decide(after: unavailable, now: 0, random: &random) else { return nil }
          return delay
        }
      }
    }
    let late = delays(true)
    #expect(late.count == 600 && late.allSatisfy { $0 >= .milliseconds(40) && $0 <= .milliseconds(120) })
    #expect(Set(late).count > 100)
    #expect(delays(false).contains { $0 < .milliseconds(40) })
  }

  /// A call is a POST: only a status that the policy names tells that it may be made again.
  @Test func callsOfGRPC() {
    let policy = RetryPolicy(statuses: [], grpcStatuses: [14])
    let told = RetryState.Failure.response(status: 200, grpcStatus: 14, retryAfter: nil)
    #expect(isRetry(decide(told, policy, isIdempotent: false)))
    let other = RetryState.Failure.response(status: 200, grpcStatus: 13, retryAfter: nil)
    #expect(decide(other, policy, isIdempotent: false) == .giveUp(.notRetriable))
    #expect(decide(.reset, policy, isIdempotent: false) == .giveUp(.notIdempotent))
    let all = RetryPolicy(statuses: [], grpcStatuses: [14], retriesNonIdempotent: true)
    #expect(isRetry(decide(.reset, all, isIdempotent: false)))
  }

  @Test func notIdempotent() {
    for failure in [unavailable, .reset, .perTryTimeout] {
      #expect(decide(failure, isIdempotent: false) == .giveUp(.notIdempotent))
      #expect(isRetry(decide(failure, RetryPolicy(retriesNonIdempotent: true), isIdempotent: false)))
    }
    // The upstream hasn't seen it.
    #expect(isRetry(decide(.connectFailure, isIdempotent: false)))
    #expect(isRetry(decide(.refused, isIdempotent: false)))
  }

  @Test(arguments: [
    ("GET", true), ("HEAD", true), ("PUT", true), ("DELETE", true), ("OPTIONS", true), ("TRACE", true), ("POST", false),
    ("PATCH", false), ("CONNECT", false), ("get", false), ("", false), ("QUERY", false),
  ])
  func methods(method: String, isIdempotent: Bool) {
    var head = HTTPHead()
    head.setMethod(method.utf8)
    #expect(RetryState.isIdempotent(head) == isIdempotent)
  }

  @Test func noReplayOfWhatWasntKept() {
    let ten = RetryPolicy(bufferLimit: 10)
    let fits = decide(.reset, ten) {
      $0.kept(4); $0.kept(6)
    }
    #expect(isRetry(fits))
    let exceeds = decide(.reset, ten) {
      $0.kept(4); $0.kept(7)
    }
    #expect(exceeds == .giveUp(.bufferExceeded))
    // Whatever the policy says, at most 1 MiB.
    let most = decide(.reset, RetryPolicy(bufferLimit: .max)) { $0.kept(1 << 20) }
    #expect(isRetry(most))
    let more = decide(.reset, RetryPolicy(bufferLimit: .max)) { $0.kept(1 << 20 + 1) }
    #expect(more == .giveUp(.bufferExceeded))
  }

  /// Nothing has left: it is all there, however much that is.
  @Test(arguments: [0, 10] as [UInt32]) func whatNoTryHasTakenIsKeptBeyondTheLimit(limit: UInt32) {
    for isIdempotent in [true, false] {
      func after(_ failure: RetryState.Failure, isDropped: Bool) -> RetryState.Decision {
        decide(failure, RetryPolicy(bufferLimit: limit), isIdempotent: isIdempotent) {
          $0.kept(11)
          if isDropped { $0.dropped() }
        }
      }
      #expect(isRetry(after(.connectFailure, isDropped: false)))
      #expect(after(.connectFailure, isDropped: true) == .giveUp(.bufferExceeded))
      // A try that was connected has had it.
      for isDropped in [true, false] { #expect(after(.refused, isDropped: isDropped) == .giveUp(.bufferExceeded)) }
    }
  }

  @Test func noRetryOnceTheResponseRuns() {
    let decision = decide(.reset) { $0.responseStarted() }
    #expect(decision == .giveUp(.responseStarted))
  }

  @Test(arguments: [0, 1, 3, 20, 1000] as [UInt32]) func attemptsAreBounded(attempts: UInt32) {
    var random = SeededRandom(state: 72)
    var state = RetryState(policy: RetryPolicy(attempts: attempts), isIdempotent: true, deadline: nil)
    for _ in 0..<min(attempts, 20) { #expect(isRetry(state.decide(after: .reset, now: 0, random: &random))) }
    #expect(state.decide(after: .reset, now: 0, random: &random) == .giveUp(.attemptsUsed))
    #expect(state.retries == min(attempts, 20))
  }

  @Test func noRetryBeyondTheDeadline() {
    #expect(decide(unavailable, deadline: .seconds(1)) == .giveUp(.deadline))
    #expect(isRetry(decide(unavailable, deadline: .seconds(2))))
    let slow = RetryState.Failure.response(status: 503, grpcStatus: nil, retryAfter: .seconds(2))
    #expect(decide(slow, deadline: .seconds(3)) == .giveUp(.deadline))
    #expect(isRetry(decide(slow, deadline: .seconds(4))))
  }

  @Test func retryAfterIsHonoured() {
    let policy = RetryPolicy(backoff: 25, maximumBackoff: 250)
    for wanted in [0, 1, 2] as [UInt64] {
      let failure = RetryState.Failure.response(status: 503, grpcStatus: nil, retryAfter: .seconds(wanted))
      guard case .retry(let delay) = decide(failure, policy) else {
        Issue.record("no retry")
        continue
      }
      #expect((.seconds(wanted) ... .seconds(wanted) + .milliseconds(25)).contains(delay))
    }
    let failure = RetryState.Failure.response(status: 503, grpcStatus: nil, retryAfter: .seconds(3))
    #expect(decide(failure, policy) == .giveUp(.retryAfterTooLong))
  }

  /// Each delay is uniform from 0 to the bound: its mean is half of it, its extremes come near.
  @Test func fullJitter() {
    var random = SeededRandom(state: 73)
    let policy = RetryPolicy(attempts: 8, backoff: 25, maximumBackoff: 250)
    var delays = Array(repeating: [NanoTime](), count: 8)
    for _ in 0..<4000 {
      var state = RetryState(policy: policy, isIdempotent: true, deadline: nil)
      for retry in 0..<8 {
        guard case .retry(let delay) = state.decide(after: .reset, now: 0, random: &random) else { continue }
        delays[retry].append(delay)
      }
    }
    for (retry, bound) in [25, 50, 100, 200, 250, 250, 250, 250].enumerated() {
      let bound = NanoTime.milliseconds(UInt64(bound))
      #expect(delays[retry].count == 4000)
      #expect(delays[retry].max()! <= bound && delays[retry].max()! > bound * 99 / 100)
      #expect(delays[retry].min()! < bound / 100)
      // The mean's standard deviation is bound / sqrt(12 x 4000), 0.46 %.
      let mean = delays[retry].reduce(0, +) / 4000
      #expect(mean > bound * 477 / 1000 && mean < bound * 523 / 1000)
    }
  }

  @Test func extremeBackoffs() {
    #expect(
      Backoff.bound(RetryPolicy(backoff: .max, maximumBackoff: 1), retry: 19) == .milliseconds(UInt64(UInt32.max)))
    #expect(Backoff.bound(RetryPolicy(backoff: 1, maximumBackoff: .max), retry: 100) == .milliseconds(1 << 31))
    #expect(Backoff.bound(RetryPolicy(backoff: 0, maximumBackoff: 0), retry: 0) == 0)
  }

  @Test func budgetAndBreakerAreAskedLast() {
    var random = SeededRandom(state: 74)
    let limits = CircuitLimits(CircuitBreaker(maxRetries: 1))
    let budget = SharedRetryBudget(RetryBudget(percent: 0, minimumRate: 2))
    let policy = RetryPolicy(attempts: 20)
    func ask(_ failure: RetryState.Failure, isIdempotent: Bool = true) -> RetryState.Decision {
      var state = RetryState(policy: policy, isIdempotent: isIdempotent, deadline: nil)
      return state.decide(after: failure, now: 0, budget: budget, limits: limits, random: &random)
    }
    for _ in 0..<10 { #expect(ask(.reset, isIdempotent: false) == .giveUp(.notIdempotent)) }
    #expect(isRetry(ask(.reset)))
    #expect(ask(.reset) == .giveUp(.breakerOpen))
    limits.release(.retries)
    #expect(isRetry(ask(.reset)))
    limits.release(.retries)
    #expect(ask(.reset) == .giveUp(.budgetUsed))
    // A refusal holds nothing.
    #expect(limits.count(of: .retries) == 0)
  }

  @Test func flags() {
    #expect(RetryState.Reason.attemptsUsed.flag == .retryLimit)
    #expect(RetryState.Reason.breakerOpen.flag == .overflow)
    #expect(RetryState.Reason.notRetriable.flag == nil)
    #expect(Set(ResponseFlag.allCases.map(\.reason)).count == ResponseFlag.allCases.count)
    for flag in ResponseFlag.allCases {
      #expect((2...3).contains(flag.rawValue.count))
      // It goes into a header's value.
      #expect(flag.reason.utf8.allSatisfy { (0x20...0x7e).contains($0) })
    }
  }
}
