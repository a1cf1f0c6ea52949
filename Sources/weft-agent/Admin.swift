import AgentCore
import ArgumentParser
import Foundation

struct Admin: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints what the running agent of this node answers to GET PATH of its admin API.",
    discussion: """
      Exit status: 0 the agent answers with success, 1 it answers with an error (which is printed all the same), \
      2 PATH can't be asked for, 3 no agent answers.
      """)

  @Argument(help: "/v1/status and so on.")
  var path: String
  @Option(help: "Where agent.sock is.")
  var runDir = "/run/weft"

  func run() throws {
    guard AdminRequest.isPath(path) else {
      throw end(2, "\(path.prefix(100).debugDescription) is no path of the admin API, such as /v1/status")
    }
    let answer: AdminRequest.Answer
    do { answer = try AdminRequest.get(path, socket: "\(runDir)/agent.sock") } catch { throw end(3, "\(error)") }
    try FileHandle.standardOutput.write(contentsOf: answer.body)
    guard answer.status == 200 else { throw ExitCode(1) }
  }

  private func end(_ status: Int32, _ reason: String) -> ExitCode {
    FileHandle.standardError.write(Data("weft-agent: \(reason)\n".utf8))
    return ExitCode(status)
  }
}
