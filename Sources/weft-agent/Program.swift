import ArgumentParser
import MeshModel

@main
struct Program: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weft-agent",
    abstract: "One node's agent: captures the sockets of its pods and supervises their proxy.",
    version: WeftVersion.current, subcommands: [WeftAgent.self, Admin.self], defaultSubcommand: WeftAgent.self)
}
