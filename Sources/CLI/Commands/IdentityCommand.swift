import ArgumentParser

struct IdentityCommand: AgentCommand {
  static let configuration = CommandConfiguration(
    commandName: "identity", abstract: "Shows the certificates that the node holds for its workloads.")
  static let path = "/v1/identities"
  @OptionGroup var options: GlobalOptions

  func isHealthy(_ answer: IdentitiesAnswer) -> Bool {
    !answer.trustBundle.isEmpty
      && answer.identities.allSatisfy { ["valid", "renewing"].contains($0.state) && ($0.error ?? "").isEmpty }
  }

  func table(_ answer: IdentitiesAnswer, _ style: Style) -> String {
    var identities = Table(
      ("NODE", .left), ("SPIFFE ID", .left), ("STATE", .left), ("SERIAL", .left), ("NOT BEFORE", .left),
      ("NOT AFTER", .left),
      ("RENEWED AT", .left), ("ERROR", .left))
    for identity in answer.identities.sorted(by: { $0.spiffeId < $1.spiffeId }) {
      identities.add(
        identity.agent, identity.spiffeId, identity.state, identity.serial, identity.notBefore, identity.notAfter,
        identity.renewAt,
        identity.error)
    }
    var roots = Table(("NODE", .left), ("TRUST BUNDLE", .left), ("NOT AFTER", .left))
    for root in answer.trustBundle { roots.add(root.agent, root.subject, root.notAfter) }
    return identities.render(none: "The node holds no certificates.") + "\n"
      + roots.render(none: "The trust bundle is empty: no peer can be authenticated.")
  }
}
