import Foundation

/// All checks of a cluster's installation: facts in, findings out.
enum ClusterCheck {
  static func findings(_ facts: ClusterFacts) -> [Finding] {
    ControlPlaneChecks.findings(facts) + DefinitionChecks.findings(facts) + CertificateChecks.findings(facts)
      + NodeChecks.findings(facts) + PodChecks.findings(facts) + ObjectChecks.findings(facts)
  }
}

extension Check {
  func checkCluster() async throws -> CommandResult {
    let facts = try await options.kubeconfig.withClient { try await FactsGathering(client: $0).facts(options) }
    let findings = ClusterCheck.findings(facts)
    let text = options.output == .json ? try findings.json() : findings.text(Style.ofProcess())
    return CommandResult(text: text, status: findings.status)
  }
}
