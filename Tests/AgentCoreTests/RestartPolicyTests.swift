import Testing

@testable import AgentCore

@Suite struct RestartPolicyTests {
  private let second: UInt64 = 1_000_000_000

  @Test func theFirstCrashIsFollowedAtOnce() {
    var policy = RestartPolicy()
    #expect(policy.died(now: 3600 * second, started: 0) == 0)
    #expect(policy.restarts == 1)
  }

  @Test func onlyAProxyThatDiesRepeatedlyWaits() {
    var policy = RestartPolicy()
    let waits = (0..<7).map { _ in policy.died(now: 10 * second, started: 9 * second) }
    #expect(waits == [0, second / 20, second / 5, second, 5 * second, 5 * second, 5 * second])
  }

  @Test func fiveGoodSecondsForgiveEverything() {
    var policy = RestartPolicy()
    for _ in 0..<4 { _ = policy.died(now: second, started: 0) }
    #expect(policy.died(now: 10 * second, started: 4 * second) == 0)
    #expect(policy.died(now: second, started: 0) == 0)
    #expect(policy.died(now: second, started: 0) == second / 20)
    #expect(policy.restarts == 7)
  }
}
