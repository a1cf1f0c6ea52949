import FoundationEssentials
import KubernetesAPI

extension Status {
  /// The agents, and the stubs that no agent tells of.
  func ofCluster() async throws -> CommandResult {
    let client = try options.kubeconfig.client()
    do {
      let result = try await ofCluster(ClusterAgents(client: client))
      await client.shutdown()
      return result
    } catch {
      await client.shutdown()
      throw error
    }
  }

  private func ofCluster(_ source: ClusterAgents) async throws -> CommandResult {
    var agents: [ClusterAgents.Agent] = []
    var absence: Failure?
    do { agents = try await source.chosen(options) } catch let failure as Failure where failure.status == .unreachable {
      absence = failure
    }
    let stubs = ClusterStubs(agents: source)
    let found = try await stubs.chosen(options, but: Set(agents.map(\.node)))
    if found.isEmpty, let absence { throw absence }
    let answers = await source.ask(agents, Self.path)
    return try render(agents: answers, stubs: await stubs.ask(found), Style.ofProcess())
  }

  func render(agents: [NodeAnswer], stubs: [NodeAnswer], _ style: Style) throws -> CommandResult {
    let told = agents.isEmpty ? CommandResult(text: "", status: .fine) : try renderAll(agents, style)
    guard !stubs.isEmpty else { return told }
    let (table, isFine) = Self.table(of: stubs)
    let status = told.status == .fine && !isFine ? .unhealthy : told.status
    guard options.output == .table else { return CommandResult(text: Self.json(agents + stubs), status: status) }
    return CommandResult(text: told.text + (told.text.isEmpty ? "" : "\n") + table, status: status)
  }

  private static func table(of stubs: [NodeAnswer]) -> (text: String, isFine: Bool) {
    var rows = Table(
      ("STUB", .left), ("NODE", .left), ("MODE", .left), ("STATE", .left), ("IDENTITY", .left),
      ("CONTROL PLANE", .left),
      ("IN", .right), ("OUT", .right), ("MIB", .right), ("PROBLEM", .left))
    var isFine = true
    for answer in stubs {
      do {
        let stub: StubAnswer = try AgentAnswer.decode(try answer.outcome.get(), from: "weft-stub status")
        let problem = stub.reason ?? stub.certificateError ?? stub.control.error
        let isWell = stub.ready && stub.control.connected
        if !isWell { isFine = false }
        rows.add(
          answer.pod ?? "", answer.node, "tunnel", stub.ready ? "ready" : "not ready", stub.identity,
          stub.control.connected ? "connected" : "away", "\(stub.connections.inbound)", "\(stub.connections.outbound)",
          "\(stub.residentBytes >> 20)", isWell ? nil : problem)
      } catch {
        isFine = false
        let problem = (error as? Failure)?.message ?? "\(error)"
        rows.add(answer.pod ?? "", answer.node, "tunnel", "not known", nil, nil, nil, nil, nil, problem)
      }
    }
    return (rows.render(none: ""), isFine)
  }
}
