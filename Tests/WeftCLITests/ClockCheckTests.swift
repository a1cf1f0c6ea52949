import Foundation
import KubernetesAPI
import Testing

@testable import CLI

/// A laptop whose clock is wrong says so, and finds nothing else wrong for that.
@Suite struct ClockCheckTests {
  private static func facts(lead: Double) -> ClusterFacts {
    var facts = ClusterFacts(now: Date(timeIntervalSince1970: 1_800_000_000))
    facts.clockLead = lead
    let renewed = facts.now.addingTimeInterval(-5).formatted(.iso8601)
    facts.lease = .found(
      ["spec": ["holderIdentity": "c-1", "leaseDurationSeconds": 15, "renewTime": .text(renewed)]])
    return facts
  }

  @Test(arguments: [0.0, 30, -30, 1.5]) func clocksThatAgree(_ lead: Double) {
    #expect(ControlPlaneChecks.clock(Self.facts(lead: lead)).isEmpty)
  }

  @Test(arguments: [(31.0, "31s ahead of"), (-3600.0, "1h0m behind")])
  func aClockThatIsWrong(lead: Double, side: String) {
    let facts = Self.facts(lead: lead)
    let findings = ControlPlaneChecks.clock(facts)
    #expect(findings.map(\.severity) == [.warning] && findings.first?.reason.contains(side) == true, "\(findings)")
    #expect(ControlPlaneChecks.findings(facts).starts(with: findings))
    #expect(ControlPlaneChecks.leader(facts) == [.ok("leader", "c-1")])
  }
}
