import MeshModel
import Testing

@testable import ProxyCore

@Suite struct RetryBudgetTests {
  @Test func soManyPerCentOfAllTries() {
    let budget = SharedRetryBudget(RetryBudget(percent: 20, interval: 10_000, minimumRate: 0, minimumInterval: 1000))
    #expect(!budget.tryRetry(at: 0))
    for _ in 0..<400 { budget.began(at: .seconds(1)) }
    // 100 of 500 tries are a fifth.
    let atOnce = (0..<70).count { _ in budget.tryRetry(at: .seconds(1)) }
    #expect(atOnce == 70)
    // Later a fifth of the allowance each second, as far as it goes.
    let allowed = (2...6).map { second in (0..<300).count { _ in budget.tryRetry(at: .seconds(second)) } }
    #expect(allowed == [20, 10, 0, 0, 0])
    // All of it lies outside the window.
    #expect(!budget.tryRetry(at: .seconds(13)))
    for _ in 0..<4 { budget.began(at: .seconds(13)) }
    #expect(budget.tryRetry(at: .seconds(13)))
    #expect(!budget.tryRetry(at: .seconds(13)))
  }

  @Test func theMinimumIsAlwaysThere() {
    let budget = SharedRetryBudget(RetryBudget(percent: 0, interval: 10_000, minimumRate: 10, minimumInterval: 1000))
    for second in 0..<20 as Range<UInt64> {
      let allowed = (0..<100).count { budget.tryRetry(at: .seconds(second) + .milliseconds(UInt64($0) * 9)) }
      #expect(allowed == 10)
    }
  }

  @Test func allMayBeRetries() {
    let budget = SharedRetryBudget(RetryBudget(percent: 100, minimumRate: 0))
    #expect((0..<1000).allSatisfy { _ in budget.tryRetry(at: 5) })
  }

  @Test func aLongSilenceLeavesNothing() {
    let budget = SharedRetryBudget(RetryBudget(percent: 50, interval: 1000, minimumRate: 0, minimumInterval: 1000))
    for _ in 0..<100 { budget.began(at: 0) }
    for hours in 1...100 as ClosedRange<UInt64> { #expect(!budget.tryRetry(at: .seconds(hours * 3600))) }
  }

  /// 1,000 clients, each with one request a second and up to 5 retries, of an upstream that fails everything from 20 s
  /// to 60 s. Without a budget its load is six times the normal; with it a quarter more than normal, and never above
  /// one and a half.
  @Test(arguments: [false, true]) func aStormIsStopped(hasBudget: Bool) {
    var random = SeededRandom(state: 61)
    let policy = RetryPolicy(attempts: 5)
    let budget = hasBudget ? SharedRetryBudget() : nil
    struct Try {
      var due: NanoTime
      var state: RetryState
    }
    var queue: [Try] = []
    var triesPerSecond = Array(repeating: 0, count: 80)
    for tick in 0..<8000 as Range<UInt64> {
      let now = NanoTime.milliseconds(tick * 10)
      for _ in 0..<10 {
        queue.append(Try(due: now, state: RetryState(policy: policy, isIdempotent: true, deadline: nil)))
        budget?.began(at: now)
      }
      var later: [Try] = []
      for var entry in queue {
        guard entry.due <= now else {
          later.append(entry)
          continue
        }
        triesPerSecond[Int(tick / 100)] += 1
        guard (2000..<6000).contains(tick) else { continue }
        let failure = RetryState.Failure.response(status: 503, grpcStatus: nil, retryAfter: nil)
        guard case .retry(let delay) = entry.state.decide(after: failure, now: now, budget: budget, random: &random)
        else { continue }
        entry.due = now + delay
        later.append(entry)
      }
      queue = later
    }
    #expect(triesPerSecond[..<20].allSatisfy { $0 == 1000 })
    let storm = triesPerSecond[20..<60]
    if hasBudget {
      #expect(storm.allSatisfy { (1000...1520).contains($0) })
      #expect((1200...1260).contains(storm.reduce(0, +) / storm.count))
    } else {
      #expect(storm.dropFirst().allSatisfy { $0 > 5900 })
    }
    #expect(triesPerSecond[62...].allSatisfy { $0 == 1000 })
  }

  /// Workers that ask at once never get more together than one alone would.
  @Test func sharedByWorkers() async {
    let budget = SharedRetryBudget(RetryBudget(percent: 50, minimumRate: 100))
    for _ in 0..<1000 { budget.began(at: 1) }
    let allowed = await withTaskGroup(of: Int.self) { group in
      for _ in 0..<4 { group.addTask { (0..<2000).count { _ in budget.tryRetry(at: 1) } } }
      return await group.reduce(0, +)
    }
    #expect((500...1000).contains(allowed))
  }
}
