import ArgumentParser
import FoundationEssentials
import KubernetesAPI
import MeshModel

struct Version: ResultCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the versions of this program, of the control planes and of the agents.",
    discussion: "The exit status is 1 where they differ, or one isn't known.")

  @OptionGroup var options: GlobalOptions

  @Flag(help: "Only this program's.")
  var client = false

  /// One program somewhere.
  struct Entry: Codable, Equatable, Sendable {
    /// client, control or agent
    var program: String
    /// The pod or the node.
    var place: String
    /// Absent where it isn't known.
    var version: String?
    /// Why.
    var problem: String?
  }

  func execute() async throws -> CommandResult {
    var entries = [Entry(program: "client", place: "", version: WeftVersion.current)]
    if !client { entries += try await others() }
    return try render(entries)
  }

  func render(_ entries: [Entry]) throws -> CommandResult {
    let isEven = entries.allSatisfy { $0.version == entries[0].version }
    let status: ExitStatus = isEven ? .fine : .unhealthy
    if options.output == .json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      return CommandResult(text: PrettyJSON.format(try encoder.encode(["versions": entries])), status: status)
    }
    var table = Table(("PROGRAM", .left), ("WHERE", .left), ("VERSION", .left), ("PROBLEM", .left))
    for entry in entries {
      table.add(entry.program, entry.place, entry.version ?? "not known", entry.problem)
    }
    return CommandResult(text: table.render(none: ""), status: status)
  }

  private func others() async throws -> [Entry] {
    switch try AgentSource.choose(options) {
    case .socket(let path):
      let body = try await AgentClient(socketPath: path, advice: AgentSocket.advice(options)).get(Status.path)
      let status: StatusAnswer = try AgentAnswer.decode(body, from: Status.path)
      return [Entry(program: "agent", place: status.node, version: status.version)]
    case .cluster: return try await options.kubeconfig.withClient { try await ofCluster($0) }
    }
  }

  private func ofCluster(_ client: KubernetesClient) async throws -> [Entry] {
    let source = ClusterAgents(client: client)
    var entries: [Entry] = []
    for pod in try await source.pods(of: "weft-control") where pod["status"]?["phase"]?.text == "Running" {
      let version = await ControlVersion.ask(client, pod)
      entries.append(
        Entry(
          program: "control", place: pod.name, version: version,
          problem: version == nil ? "it doesn't say, and its image has no tag" : nil))
    }
    let agents: [ClusterAgents.Agent]
    do { agents = try await source.chosen(options) } catch let failure as Failure where failure.status == .unreachable {
      // Installed without agents: none is missing.
      if options.node == nil, options.pod == nil, await source.hasNoAgents() { return entries }
      // The other programs' versions are known all the same.
      return entries + [Entry(program: "agent", place: options.node ?? "", problem: failure.message)]
    }
    for answer in await source.ask(agents, Status.path) {
      do {
        let status: StatusAnswer = try AgentAnswer.decode(try answer.outcome.get(), from: Status.path)
        entries.append(Entry(program: "agent", place: answer.node, version: status.version))
      } catch {
        let problem = (error as? Failure)?.message ?? "\(error)"
        entries.append(Entry(program: "agent", place: answer.node, problem: problem))
      }
    }
    return entries
  }
}
