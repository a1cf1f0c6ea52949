import ArgumentParser
import FoundationEssentials

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

  func table(_ answer: Answer, _ style: Style) -> String
  /// Whether what the answer says is in order.
  func isHealthy(_ answer: Answer) -> Bool
  func render(_ body: Data, _ style: Style) throws -> CommandResult
}

extension AgentCommand {
  var question: String { Self.path }
  func isHealthy(_ answer: Answer) -> Bool { true }

  func execute() async throws -> CommandResult { try render(await ask(), Style.ofProcess()) }

  func ask() async throws -> Data {
    try await AgentClient(socketPath: AgentSocket.path(options), advice: AgentSocket.advice(options)).get(question)
  }

  func render(_ body: Data, _ style: Style) throws -> CommandResult {
    let answer: Answer = try AgentAnswer.decode(body, from: Self.path)
    let text = options.output == .json ? PrettyJSON.format(body) : table(answer, style)
    return CommandResult(text: text, status: isHealthy(answer) ? .fine : .unhealthy)
  }
}

enum AgentAnswer {
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
