import ArgumentParser
import FoundationEssentials

struct Dump: AgentCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints all that the agent and the proxy know, as JSON, for a report. It never holds keys.")
  static let path = "/v1/dump"
  static let isDocument = true
  @OptionGroup var options: GlobalOptions

  func table(_ answer: DumpAnswer, _ style: Style) -> String { "" }

  /// JSON whatever the format asked for: no table could hold it.
  func render(_ body: Data, _ style: Style) throws -> CommandResult {
    let _: DumpAnswer = try AgentAnswer.decode(body, from: Self.path)
    return CommandResult(text: PrettyJSON.format(body), status: .fine)
  }
}
