import AgentCore
import ArgumentParser
import Foundation

/// `weft-agent admin PATH`: what a running agent answers on its socket, for whoever may enter its container.
struct AskAgent: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "admin", abstract: "Print the answer of this node's agent to GET PATH.",
    discussion: """
      Exit status, which `weft` on a cluster goes by: 0 success, 1 the agent answers with an error (which is printed all \
      the same), 3 no agent answers, 64 PATH can't be asked for.
      """)

  @Argument(help: "A path of the admin API, such as /v1/status.")
  var path: String
  @Option(help: "Where agent.sock is.")
  var runDir = "/run/weft"

  func validate() throws {
    guard path.hasPrefix("/v1/") || path.hasPrefix("/healthz/") else {
      throw ValidationError("\(path.prefix(100).debugDescription) is no path of the admin API, such as /v1/status")
    }
  }

  func run() async throws {
    do {
      let answer = try AdminClient.get(path, socket: runDir + "/agent.sock")
      FileHandle.standardOutput.write(answer.body + Data("\n".utf8))
      guard answer.status == 200 else { throw ExitCode(1) }
    } catch let error as AgentError {
      FileHandle.standardError.write(Data("weft-agent: \(error)\n".utf8))
      throw ExitCode(3)
    }
  }
}
