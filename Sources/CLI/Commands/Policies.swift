import ArgumentParser

struct Policies: AgentCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lists the TrafficPolicies in force, one line for each setting.")
  static let path = "/v1/policies"
  @OptionGroup var options: GlobalOptions

  func table(_ answer: PoliciesAnswer, _ style: Style) -> String {
    var table = Table(
      ("NODE", .left), ("POLICY", .left), ("TARGETS", .left), ("CLIENTS", .left), ("SETTING", .left), ("VALUE", .left))
    for policy in answer.policies {
      let name = "\(policy.namespace)/\(policy.name)"
      let targets = policy.targets.joined(separator: ", ")
      let clients = policy.clients.isEmpty ? "all" : policy.clients.joined(separator: ", ")
      if policy.settings.isEmpty { table.add(policy.agent, name, targets, clients, "none", nil) }
      for (index, setting) in policy.settings.enumerated() {
        let isFirst = index == 0
        table.add(
          isFirst ? policy.agent : nil, isFirst ? name : nil, isFirst ? targets : nil, isFirst ? clients : nil,
          setting.name, setting.value)
      }
    }
    let shown = answer.policies.count
    let more = answer.total > shown ? "\nThe first \(shown) of \(answer.total) policies.\n" : ""
    return table.render(none: "No TrafficPolicy is in force: the defaults hold.") + more
  }
}
