import ArgumentParser
import FoundationEssentials
import KubernetesAPI

/// What a command prints, and how the program ends.
struct CommandResult: Equatable {
  var text: String
  var status: ExitStatus
}

/// A command that waits for others' answers.
protocol ResultCommand: ParsableCommand {
  func execute() async throws -> CommandResult
}

/// A command that shows one of the agent's answers. Reading and rendering are pure; `execute` does the asking.
protocol AgentCommand: ResultCommand {
  associatedtype Answer: Decodable & Sendable
  static var path: String { get }
  /// What is asked for: `path`, unless the arguments say more.
  var question: String { get }
  var options: GlobalOptions { get }
  /// Printed as JSON always.
  static var isDocument: Bool { get }

  func table(_ answer: Answer, _ style: Style) -> String
  /// Whether what the answer says is in order.
  func isHealthy(_ answer: Answer) -> Bool
  func render(_ body: Data, _ style: Style) throws -> CommandResult
  /// The same for the answers of several agents, merged unless a command has a better way.
  func tableOfAll(_ answers: [(node: String, content: JSONNode)], _ style: Style) throws -> String
}

extension AgentCommand {
  var question: String { Self.path }
  static var isDocument: Bool { false }
  func isHealthy(_ answer: Answer) -> Bool { true }

  func execute() async throws -> CommandResult {
    switch try AgentSource.choose(options) {
    case .socket: try render(await ask(), Style.ofProcess())
    case .cluster: try renderAll(await askCluster(), Style.ofProcess())
    }
  }

  /// The agent of this machine, through its socket.
  func ask() async throws -> Data {
    let body = try await AgentClient(socketPath: AgentSocket.path(options), advice: AgentSocket.advice(options)).get(
      question)
    return try filtered(body)
  }

  /// The cluster's agents that are meant.
  func askCluster() async throws -> [NodeAnswer] {
    let answers = try await options.kubeconfig.withClient { client in
      let agents = ClusterAgents(client: client)
      return await agents.ask(try await agents.chosen(options), question)
    }
    return answers.map { answer in
      NodeAnswer(node: answer.node, outcome: answer.outcome.flatMap { body in filteredOutcome(body) })
    }
  }

  private func filteredOutcome(_ body: Data) -> Result<Data, Failure> {
    do { return .success(try filtered(body)) } catch {
      return .failure(error as? Failure ?? Failure(message: "\(error)", status: .unhealthy))
    }
  }

  /// Without what belongs to other namespaces than the one that is wanted.
  private func filtered(_ body: Data) throws -> Data {
    guard let namespace = options.namespace else { return body }
    return Data(MergedAnswer.filter(try AgentAnswer.tree(body, from: Self.path), namespace: namespace).bytes)
  }

  /// One output of all agents' answers: an entry's agent is a column. The status is the worst of all.
  func renderAll(_ answers: [NodeAnswer], _ style: Style) throws -> CommandResult {
    var status = ExitStatus.fine
    var told: [(node: String, content: JSONNode)] = []
    var notes = ""
    for answer in answers {
      do {
        let body = try answer.outcome.get()
        let content: Answer = try AgentAnswer.decode(body, from: Self.path)
        told.append((answer.node, try AgentAnswer.tree(body, from: Self.path)))
        if !isHealthy(content) { status = .unhealthy }
      } catch let failure as Failure {
        status = .unhealthy
        notes += "\(Text.printable(answer.node)): \(failure.message)\n"
      }
    }
    // Nobody has answered.
    if told.isEmpty, !answers.isEmpty { status = .unreachable }
    if options.output == .json || Self.isDocument {
      return CommandResult(text: Self.json(answers), status: status)
    }
    let text = told.isEmpty ? "" : try tableOfAll(told, style)
    return CommandResult(text: text + (notes.isEmpty || text.isEmpty ? notes : "\n" + notes), status: status)
  }

  func tableOfAll(_ answers: [(node: String, content: JSONNode)], _ style: Style) throws -> String {
    // One agent's is shown as it is on its node.
    let content = answers.count == 1 ? answers[0].content : MergedAnswer.merge(answers)
    return table(try AgentAnswer.decode(Data(content.bytes), from: Self.path), style)
  }

  /// An array of `node`, of a stub its `pod`, and `answer`, or `error` where there is none.
  static func json(_ answers: [NodeAnswer]) -> String {
    let entries = answers.map { answer -> JSONNode in
      let place =
        [JSONNode.Member(key: "node", value: .text(answer.node))]
        + (answer.pod.map { [JSONNode.Member(key: "pod", value: .text($0))] } ?? [])
      switch answer.outcome.flatMap({ body in
        Result { try AgentAnswer.tree(body, from: path) }.mapError {
          $0 as? Failure ?? Failure(message: "", status: .unhealthy)
        }
      }) {
      case .success(let content): return .object(place + [.init(key: "answer", value: content)])
      case .failure(let failure): return .object(place + [.init(key: "error", value: .text(failure.message))])
      }
    }
    return PrettyJSON.format(Data(JSONNode.array(entries).bytes))
  }

  func render(_ body: Data, _ style: Style) throws -> CommandResult {
    let answer: Answer = try AgentAnswer.decode(body, from: Self.path)
    let text = options.output == .json ? PrettyJSON.format(body) : table(answer, style)
    return CommandResult(text: text, status: isHealthy(answer) ? .fine : .unhealthy)
  }
}

enum AgentAnswer {
  static func tree(_ body: Data, from path: String) throws -> JSONNode {
    do { return try JSONReader.read(body) } catch {
      throw Failure(message: "The agent's answer to \(path) can't be read (\(error)).", status: .unhealthy)
    }
  }

  static func decode<Answer: Decodable>(_ body: Data, from path: String) throws -> Answer {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    do {
      return try decoder.decode(Answer.self, from: body)
    } catch {
      throw Failure(
        message: "The agent's answer to \(path) can't be read (\(reason(error))). "
          + "Are weft and weft-agent of the same version?", status: .unhealthy)
    }
  }

  private static func reason(_ error: any Error) -> String {
    func place(_ path: [any CodingKey]) -> String {
      path.isEmpty ? "its top" : path.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: ".")
    }
    switch error as? DecodingError {
    case .keyNotFound(let key, let context): return "\(place(context.codingPath + [key])) is missing"
    case .typeMismatch(_, let context): return "\(place(context.codingPath)) has another type"
    case .valueNotFound(_, let context): return "\(place(context.codingPath)) is null"
    case .dataCorrupted, .none: return "it isn't JSON"
    case .some: return "it isn't as expected"
    }
  }
}
