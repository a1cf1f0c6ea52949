import ArgumentParser

struct ExitCodes: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "exit-codes", abstract: "Says what weft's exit status means.",
    discussion: """
      0  fine.
      1  a check failed, something is unhealthy, or the agent or the API server refuses; of several agents also where \
      one of them has no answer.
      2  usage: arguments that can't be, a kubeconfig that can't be read, a pod that doesn't exist.
      3  no answer: the agent's socket, every agent that was asked, or the API server.

      The format of the output changes nothing of it. `weft check` ends with 0 where it has only warnings.
      """)

  func run() throws { print(Weft.helpMessage(for: ExitCodes.self)) }
}
