import Capture
import MeshModel
import Testing

@testable import AgentCore

@Suite struct HoldPolicyTests {
  private let second: UInt64 = 1_000_000_000

  private func workload(meshed: Bool, host: Bool = false, mode: Workload.Mode = .node) -> Workload {
    Workload(
      id: "shop/web", namespace: "shop", name: "web", serviceAccount: "default", node: "n", addresses: [],
      isMeshed: meshed, usesHostNetwork: host, mode: mode)
  }

  private func verdict(
    _ change: (inout HoldPolicy.Facts) -> Void, at now: UInt64 = 0, policy: HoldPolicy = HoldPolicy()
  ) -> CgroupVerdict {
    var facts = HoldPolicy.Facts()
    change(&facts)
    return policy.verdict(facts, now: now).verdict
  }

  @Test func aKnownPodIsHeldExactlyWhileItIsMeshedAndNotEnrolled() {
    #expect(verdict { $0.workload = workload(meshed: true) } == .held)
    #expect(verdict({ $0.workload = workload(meshed: true) }, at: 3600 * second) == .held, "without a bound")
    #expect(
      verdict {
        $0.workload = workload(meshed: true)
        $0.isEnrolled = true
      } == .enrolled)
    #expect(verdict { $0.workload = workload(meshed: false) } == .passes)
    #expect(verdict { $0.workload = workload(meshed: false, host: true) } == .passes)
    #expect(verdict { $0.workload = workload(meshed: true, mode: .stubTunnel) } == .passes)
    #expect(verdict { $0.workload = workload(meshed: true, mode: .stubHandoff) } == .held)
  }

  @Test func anAgentThatMayNotEnterPodsSaysWhatTheyNeed() {
    let policy = HoldPolicy(entersPods: false)
    var facts = HoldPolicy.Facts()
    facts.workload = workload(meshed: true)
    let held = policy.verdict(facts, now: 0)
    #expect(held.verdict == .held && held.reason.contains("weft.dev/mode: stub"))
    facts.workload = workload(meshed: true, mode: .stubHandoff)
    #expect(!policy.verdict(facts, now: 0).reason.contains("SYS_ADMIN"), "it waits for its stub only")
    facts.workload = workload(meshed: false)
    #expect(policy.verdict(facts, now: 0).verdict == .passes)
  }

  @Test func anUnknownPodIsHeldForABoundedTime() {
    #expect(verdict({ $0.seenAt = 5 * second }, at: 14 * second) == .held)
    #expect(verdict({ $0.seenAt = 5 * second }, at: 15 * second) == .passes)
    let connected: (inout HoldPolicy.Facts) -> Void = { $0.isConnected = true }
    #expect(verdict(connected, at: 59 * second) == .held, "its word is on the way")
    #expect(verdict(connected, at: 60 * second) == .passes)
    #expect(verdict({ _ in }, at: second, policy: HoldPolicy(holdUnknown: 0, unheldNamespaces: [])) == .passes)
  }

  @Test func theNamespaceDecidesWhereItIsKnown() {
    #expect(verdict { $0.namespace = "kube-system" } == .passes)
    #expect(
      verdict(
        {
          $0.namespace = "shop"
          $0.namespaceIsMeshed = true
        }, at: 3600 * second) == .held, "it may be meshed: never in plaintext")
    #expect(verdict({ $0.namespace = "other" }, at: 11 * second) == .passes)
  }

  @Test func whoWasMeshedStaysHeldAndWhoWasThereIsLeftAlone() {
    #expect(verdict({ $0.wasMeshed = true }, at: 3600 * second) == .held)
    #expect(verdict { $0.wasThere = true } == .passes)
    #expect(verdict { $0.wasEnrolled = true } == .enrolled)
    #expect(
      verdict {
        $0.wasThere = true
        $0.workload = workload(meshed: true)
      } == .held, "known as meshed")
  }
}
