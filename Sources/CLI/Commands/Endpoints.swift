import ArgumentParser
import MeshModel

struct Endpoints: AgentCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lists the endpoints of Services' ports as the node's proxy balances over them: health, ejections, load.",
    discussion: """
      REQUESTS and CONNECTIONS are under way from this node now; LATENCY is what the balancer reckons with (peak EWMA). \
      They stand only where this node's workloads have used the port. The exit status is 1 where an endpoint is ejected.
      """)
  static let path = "/v1/endpoints"
  @OptionGroup var options: GlobalOptions

  @Argument(help: "Only this Service's: NAMESPACE/NAME.")
  var service: String?

  func validate() throws {
    guard let service, ServiceKey(service) == nil else { return }
    throw ValidationError("\"\(Text.printable(service))\" isn't a Service's NAMESPACE/NAME.")
  }

  var question: String { service.map { "\(Self.path)/\($0)" } ?? Self.path }

  func isHealthy(_ answer: EndpointsAnswer) -> Bool { !answer.endpoints.contains { $0.ejected > 0 } }

  func table(_ answer: EndpointsAnswer, _ style: Style) -> String {
    var table = Table(
      ("NODE", .left), ("SERVICE", .left), ("ADDRESS", .left), ("WORKLOAD", .left), ("STATE", .left),
      ("WEIGHT", .right),
      ("LOCALITY", .left), ("TRANSPORT", .left), ("EJECTIONS", .right), ("REQUESTS", .right), ("CONNECTIONS", .right),
      ("LATENCY", .right))
    for endpoint in answer.endpoints {
      let isUsed = endpoint.balancers > 0
      table.add(
        endpoint.agent, "\(endpoint.service):\(endpoint.port)", endpoint.address, endpoint.workload,
        Self.state(endpoint),
        "\(endpoint.weight)", endpoint.locality, endpoint.transport, isUsed ? "\(endpoint.ejections)" : nil,
        isUsed ? "\(endpoint.requests)" : nil, endpoint.connections > 0 ? "\(endpoint.connections)" : nil,
        endpoint.latencyMs.map(Text.milliseconds))
    }
    let more =
      answer.truncated ? "\nThe first \(answer.endpoints.count) endpoints: name a Service to see its own.\n" : ""
    return table.render(none: service.map { "\($0) has no endpoint." } ?? "No Service has an endpoint.") + more
  }

  private static func state(_ endpoint: EndpointsAnswer.Entry) -> String {
    var state = endpoint.draining ? "draining" : endpoint.ready ? "ready" : "not ready"
    guard endpoint.ejected > 0 else { return state }
    state += ", ejected for \(Text.duration(endpoint.ejectedSeconds ?? 0))"
    if endpoint.ejected < endpoint.balancers { state += " by \(endpoint.ejected) of \(endpoint.balancers)" }
    return endpoint.panicking > 0 ? state + ", used in panic" : state
  }
}
