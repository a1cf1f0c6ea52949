import ArgumentParser

struct Weft: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weft",
    abstract: "Shows what the mesh does on a node, and checks the installation.",
    discussion: """
      Talks to the node's agent over its Unix socket, so it runs on that node, as root.

      Exit status: 0 fine, 1 a check failed or something is unhealthy, 2 usage, 3 the agent isn't reachable.
      """,
    subcommands: [
      Check.self, Status.self, Workloads.self, Services.self, Routes.self, Policies.self, Endpoints.self,
      Connections.self, IdentityCommand.self, BPF.self, Dump.self, Install.self, Inject.self,
    ])

  @OptionGroup var options: GlobalOptions
}

enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
  case table, json
}

/// Options of every command; they may stand before or after its name.
struct GlobalOptions: ParsableArguments {
  @Option(help: "The agent's socket. Default: $WEFT_SOCKET, or \(AgentSocket.standardPath).")
  var socket: String?

  @Option(help: "The agent of this node: one of a lab's (first $WEFT_LAB), or of this machine's.")
  var node: String?

  @Option(name: [.short, .long], help: "table for people, json for programs (what the agent said, unchanged).")
  var output: OutputFormat = .table

  func validate() throws {
    if socket != nil, node != nil { throw ValidationError("Give --socket or --node, not both.") }
  }
}
