import ArgumentParser

struct Routes: AgentCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lists the routes in force, one line for each rule.",
    discussion: """
      Matches: "= /path" is exact, "/path" a prefix by segments, "~ expression" a regular expression. Backends stand with \
      their weights. The exit status is 1 where a backend is invalid: its share of the requests is answered by 500.
      """)
  static let path = "/v1/routes"
  @OptionGroup var options: GlobalOptions

  func isHealthy(_ answer: RoutesAnswer) -> Bool {
    answer.routes.allSatisfy { $0.rules.allSatisfy { $0.backends.allSatisfy(\.invalid.isEmpty) } }
  }

  func table(_ answer: RoutesAnswer, _ style: Style) -> String {
    var table = Table(
      ("NODE", .left), ("KIND", .left), ("ROUTE", .left), ("PARENTS", .left), ("HOSTNAMES", .left), ("RULE", .right),
      ("MATCHES", .left), ("BACKENDS", .left), ("FILTERS", .left), ("SETTINGS", .left))
    for route in answer.routes {
      let parents = route.parents.map(Self.parent).joined(separator: ", ")
      let hostnames = route.hostnames.joined(separator: ", ")
      if route.rules.isEmpty {
        table.add(
          route.agent, route.kind, "\(route.namespace)/\(route.name)", parents, hostnames, "0/0", nil, nil, nil, nil)
      }
      for (index, rule) in route.rules.enumerated() {
        let isFirst = index == 0
        table.add(
          isFirst ? route.agent : nil, isFirst ? route.kind : nil, isFirst ? "\(route.namespace)/\(route.name)" : nil,
          isFirst ? parents : nil,
          isFirst ? hostnames : nil, "\(index + 1)/\(route.ruleCount)",
          rule.matches.isEmpty ? "any" : rule.matches.joined(separator: " or "), Self.backends(rule),
          rule.filters.joined(separator: "; "), rule.settings.joined(separator: "; "))
      }
    }
    let rules = answer.routes.reduce(0) { $0 + $1.rules.count }
    let isWhole = answer.routes.count == answer.total && answer.routes.allSatisfy { $0.rules.count == $0.ruleCount }
    let more = isWhole ? "" : "\nThe first \(rules) rules of \(answer.routes.count) of \(answer.total) routes.\n"
    return table.render(none: "No route is in force: requests go to the Services that they name.") + more
  }

  private static func parent(_ parent: RoutesAnswer.Parent) -> String {
    "\(parent.service)\(parent.port.map { ":\($0)" } ?? "") \(parent.role)"
  }

  private static func backends(_ rule: RoutesAnswer.Rule) -> String {
    var texts = rule.backends.map { backend in
      var notes = ["\(backend.weight)"]
      if !backend.invalid.isEmpty { notes.append("invalid: \(backend.invalid)") }
      return "\(backend.service):\(backend.port) (\((notes + backend.filters).joined(separator: "; ")))"
    }
    if rule.backendCount > texts.count { texts.append("and \(rule.backendCount - texts.count) more") }
    return texts.joined(separator: ", ")
  }
}
