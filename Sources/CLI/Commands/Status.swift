import ArgumentParser
import FoundationEssentials
import KubernetesAPI

struct Status: AgentCommand {
  static let configuration = CommandConfiguration(abstract: "Shows how the node is: agent, proxy, control plane, pods.")
  static let path = "/v1/status"
  @OptionGroup var options: GlobalOptions

  @Option(help: "Shows also how the control plane judges routes and policies: its status.json, where it can be read.")
  var controlStatus: String?

  func execute() async throws -> CommandResult {
    let agent =
      switch try AgentSource.choose(options) {
      case .socket: try render(await ask(), Style.ofProcess())
      case .cluster: try await ofCluster()
      }
    guard let controlStatus, options.output == .table else { return agent }
    return agent.adding(try ControlReport.read(controlStatus))
  }

  func isHealthy(_ status: StatusAnswer) -> Bool {
    status.proxy.state == "running" && status.control.connected && status.snapshot.rejected.isEmpty
      && status.pods.failed == 0
  }

  func table(_ status: StatusAnswer, _ style: Style) -> String {
    var lines: [(String, String)] = [
      ("Node", status.node),
      ("Agent", "\(status.version), since \(status.startedAt)"),
      ("Proxy", proxy(status.proxy)),
      ("Requests", status.proxy.traffic.map(traffic) ?? "not known: the proxy doesn't answer"),
      ("Control plane", control(status.control)),
      ("Snapshot", snapshot(status.snapshot)),
      ("Pods", "\(status.pods.enrolled) enrolled, \(status.pods.pending) pending, \(status.pods.failed) failed"),
      ("Mesh", "trust domain \(status.config.trustDomain), mutual TLS \(status.config.mutualTls)"),
    ]
    for stub in status.pods.stubs ?? [] { lines.append(("Stub", "\(stub.uid), \(stub.mode): \(stub.reason)")) }
    for rejected in status.snapshot.rejected {
      lines.append(("Rejected", "\(Self.shortType(rejected.type)) \(rejected.name): \(rejected.reason)"))
    }
    let width = lines.map(\.0.count).max() ?? 0
    return lines.map { name, value in
      name + String(repeating: " ", count: width + 2 - name.count) + Text.printable(value) + "\n"
    }.joined()
  }

  private func proxy(_ proxy: StatusAnswer.Proxy) -> String {
    let process = proxy.pid.map { ", process \($0)" } ?? ""
    let restarts = proxy.restarts == 1 ? "1 restart" : "\(proxy.restarts) restarts"
    return "\(proxy.state)\(process), \(restarts)"
  }

  private func traffic(_ traffic: StatusAnswer.Traffic) -> String {
    let retries = traffic.retries == 1 ? "1 retry" : "\(traffic.retries) retries"
    return "\(traffic.requests), \(retries), \(traffic.localReplies) answered by the proxy itself"
  }

  private func control(_ control: StatusAnswer.Control) -> String {
    let since = control.since.flatMap { $0.isEmpty ? nil : " since \($0)" } ?? ""
    let problem = control.lastError.flatMap { $0.isEmpty || control.connected ? nil : ": \($0)" } ?? ""
    return "\(control.connected ? "connected to" : "not connected to") \(control.address)\(since)\(problem)"
  }

  private func snapshot(_ snapshot: StatusAnswer.Snapshot) -> String {
    let counts = snapshot.versions.sorted { $0.key < $1.key }.map { "\($0.value) \(Self.shortType($0.key))" }
    let source = snapshot.restored ? "restored from disk" : "from the control plane"
    return "\(counts.isEmpty ? "nothing" : counts.joined(separator: ", ")), \(source)"
  }

  /// `type.googleapis.com/weft.mesh.v1.Workload` is `Workload`.
  private static func shortType(_ url: String) -> Substring {
    url.split { $0 == "/" || $0 == "." }.last ?? Substring(url)
  }
}

extension Status {
  /// A row for each node.
  func tableOfAll(_ answers: [(node: String, content: JSONNode)], _ style: Style) throws -> String {
    guard answers.count != 1 else {
      return table(try AgentAnswer.decode(Data(answers[0].content.bytes), from: Self.path), style)
    }
    var rows = Table(
      ("NODE", .left), ("AGENT", .left), ("PROXY", .left), ("RESTARTS", .right), ("CONTROL PLANE", .left),
      ("ENROLLED", .right), ("PENDING", .right), ("FAILED", .right), ("REJECTED", .right), ("REQUESTS", .right))
    for (node, content) in answers {
      let status: StatusAnswer = try AgentAnswer.decode(Data(content.bytes), from: Self.path)
      rows.add(
        node, status.version, status.proxy.state, "\(status.proxy.restarts)",
        status.control.connected ? "connected" : status.control.lastError.map { "away: \($0)" } ?? "away",
        "\(status.pods.enrolled)", "\(status.pods.pending)", "\(status.pods.failed)",
        "\(status.snapshot.rejected.count)", status.proxy.traffic.map { "\($0.requests)" })
    }
    return rows.render(none: "No agent has answered.")
  }
}
