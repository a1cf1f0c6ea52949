import FoundationEssentials
import Injection
import KubernetesAPI

extension Status {
  /// The agents, and the stubs that no agent tells of.
  func ofCluster() async throws -> CommandResult {
    try await options.kubeconfig.withClient { try await ofCluster(ClusterAgents(client: $0)) }
  }

  private func ofCluster(_ source: ClusterAgents) async throws -> CommandResult {
    var agents: [ClusterAgents.Agent] = []
    var absence: Failure?
    do { agents = try await source.chosen(options) } catch let failure as Failure where failure.status == .unreachable {
      absence = failure
    }
    let answers = await source.ask(agents, Self.path)
    let stubs = ClusterStubs(agents: source)
    var found: [ClusterStubs.Stub] = []
    var note = ""
    do { found = try await stubs.chosen(options, but: Set(agents.map(\.node))) } catch {
      // The agents have answered all the same.
      if let absence { throw absence }
      note = "Stubs on nodes without an agent aren't known: \((error as? Failure)?.message ?? "\(error)")\n"
    }
    if found.isEmpty, let absence {
      guard await source.hasNoAgents() else { throw absence }
      return CommandResult(
        text: options.output == .json ? "[]\n" : "Weft has no agents here, and no pod in view has a stub.\n",
        status: .fine)
    }
    if found.count > ClusterStubs.bound {
      note = "\(found.count - ClusterStubs.bound) more stubs aren't shown: choose by -n, --node or --pod.\n"
    }
    var result = try render(agents: answers, stubs: await stubs.ask(found), Style.ofProcess())
    if options.output == .table { result.text += note }
    return result
  }

  func render(agents: [NodeAnswer], stubs: [NodeAnswer], _ style: Style) throws -> CommandResult {
    let told = agents.isEmpty ? nil : try renderAll(agents, style)
    guard !stubs.isEmpty else { return told ?? CommandResult(text: "", status: .fine) }
    let (table, status) = Self.table(of: stubs)
    let worst = [told?.status ?? .fine, status].first { $0 != .fine } ?? .fine
    guard options.output == .table else { return CommandResult(text: Self.json(agents + stubs), status: worst) }
    return CommandResult(text: (told.map { $0.text + "\n" } ?? "") + table, status: worst)
  }

  private static func table(of stubs: [NodeAnswer]) -> (text: String, status: ExitStatus) {
    var rows = Table(
      ("STUB", .left), ("NODE", .left), ("MODE", .left), ("STATE", .left), ("IDENTITY", .left),
      ("CONTROL PLANE", .left),
      ("IN", .right), ("OUT", .right), ("MIB", .right), ("PROBLEM", .left))
    var (answered, isFine) = (false, true)
    let mode = StubKind.tunnel.rawValue
    for answer in stubs {
      do {
        let stub: StubAnswer = try AgentAnswer.decode(try answer.outcome.get(), from: "weft-stub status")
        answered = true
        let problem = stub.reason ?? stub.certificateError ?? stub.control.error
        let isWell = stub.ready && stub.control.connected
        if !isWell { isFine = false }
        rows.add(
          answer.pod, answer.node, mode, stub.ready ? "ready" : "not ready", stub.identity,
          stub.control.connected ? "connected" : "away", "\(stub.connections.inbound)", "\(stub.connections.outbound)",
          "\(stub.residentBytes >> 20)", isWell ? nil : problem)
      } catch {
        isFine = false
        let problem = (error as? Failure)?.message ?? "\(error)"
        rows.add(answer.pod, answer.node, mode, "not known", nil, nil, nil, nil, nil, problem)
      }
    }
    return (rows.render(none: ""), isFine ? .fine : answered ? .unhealthy : .unreachable)
  }
}
