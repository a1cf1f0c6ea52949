import Discovery
import Testing

@testable import AgentCore

@Suite struct PodTroublesTests {
  private let second: UInt64 = 1_000_000_000

  @Test func whoWaitsTooLongIsToldOnce() {
    var troubles = PodTroubles()
    let waiting = ["shop/web": "no certificate"]
    #expect(troubles.due(waiting, now: 0).isEmpty)
    #expect(troubles.due(waiting, now: 9 * second).isEmpty)
    let due = troubles.due(waiting, now: 10 * second)
    #expect(due == [PodProblem(workload: "shop/web", reason: "no certificate")])
    #expect(troubles.due(waiting, now: 10 * second) == due, "nobody has taken it yet")
    troubles.told(due, now: 10 * second)
    #expect(troubles.due(waiting, now: 100 * second).isEmpty)
    #expect(troubles.due(waiting, now: 10 * second + PodTroubles.again) == due, "it still holds")
  }

  @Test func anotherReasonIsToldAfterAWhileAndARecoveryForgets() {
    var troubles = PodTroubles()
    _ = troubles.due(["a": "x"], now: 0)
    troubles.told(troubles.due(["a": "x"], now: 10 * second), now: 10 * second)
    #expect(troubles.due(["a": "y"], now: 69 * second).isEmpty)
    #expect(troubles.due(["a": "y"], now: 70 * second).map(\.reason) == ["y"])
    _ = troubles.due([:], now: 71 * second)
    #expect(troubles.due(["a": "x"], now: 80 * second).isEmpty, "it waits anew")
    #expect(troubles.due(["a": "x"], now: 90 * second).map(\.reason) == ["x"])
  }

  @Test func whoCannotBeToldIsLeftInPeaceForAWhile() {
    var troubles = PodTroubles()
    _ = troubles.due(["a": "x"], now: 0)
    troubles.failed(troubles.due(["a": "x"], now: 10 * second), now: 10 * second)
    #expect(troubles.due(["a": "x"], now: 69 * second).isEmpty)
    #expect(troubles.due(["a": "x"], now: 70 * second).count == 1)
  }

  @Test func aReportIsBounded() {
    var troubles = PodTroubles()
    let waiting = Dictionary(uniqueKeysWithValues: (0..<200).map { ("shop/\($0)", "x") })
    _ = troubles.due(waiting, now: 0)
    var told: Set<String> = []
    for _ in 0..<4 {
      let due = troubles.due(waiting, now: 10 * second)
      #expect(due.count <= PodProblem.bound)
      told.formUnion(due.map(\.workload))
      troubles.told(due, now: 10 * second)
    }
    #expect(told.count == 200)
  }
}
