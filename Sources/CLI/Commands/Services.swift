import ArgumentParser

struct Services: AgentCommand {
  static let configuration = CommandConfiguration(abstract: "Lists the Services that the node knows.")
  static let path = "/v1/services"
  @OptionGroup var options: GlobalOptions

  @Flag(help: "One line for each endpoint.")
  var endpoints = false

  func table(_ answer: ServicesAnswer, _ style: Style) -> String {
    let services = answer.services.sorted { ($0.namespace, $0.name) < ($1.namespace, $1.name) }
    return endpoints ? endpointTable(services) : serviceTable(services)
  }

  private func serviceTable(_ services: [ServicesAnswer.Entry]) -> String {
    var table = Table(
      ("NODE", .left), ("NAMESPACE", .left), ("NAME", .left), ("ADDRESSES", .left), ("PORTS", .left), ("READY", .right))
    for service in services {
      table.add(
        service.agent, service.namespace, service.name,
        service.addresses.isEmpty ? "headless" : service.addresses.joined(separator: ","),
        service.ports.map(Self.port).joined(separator: ","),
        "\(service.endpoints.count(where: \.ready))/\(service.endpoints.count)")
    }
    return table.render(none: "The agent knows no Services.")
  }

  private func endpointTable(_ services: [ServicesAnswer.Entry]) -> String {
    var table = Table(
      ("AGENT", .left), ("NAMESPACE", .left), ("NAME", .left), ("WORKLOAD", .left), ("NODE", .left), ("READY", .left),
      ("ADDRESS", .left), ("PORTS", .left))
    for service in services {
      for endpoint in service.endpoints {
        let ports = endpoint.ports.sorted { (Int($0.key) ?? 0) < (Int($1.key) ?? 0) }
        table.add(
          service.agent, service.namespace, service.name, endpoint.workload, endpoint.node, Text.yesNo(endpoint.ready),
          endpoint.address, ports.map { "\($0.key)->\($0.value)" }.joined(separator: ","))
      }
    }
    return table.render(none: "No Service has an endpoint.")
  }

  private static func port(_ port: ServicesAnswer.Port) -> String {
    let name = port.name.flatMap { $0.isEmpty ? nil : "(\($0))" } ?? ""
    return "\(port.port)/\(port.transport)\(name)"
  }
}
