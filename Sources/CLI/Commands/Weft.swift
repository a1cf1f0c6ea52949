import ArgumentParser
import MeshModel

struct Weft: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weft",
    abstract: "Shows what the mesh does, and checks the installation: on a node, or of a cluster.",
    discussion: """
      On a node it talks to the agent over its Unix socket, as root. Elsewhere, or with --context, --pod or -A, it talks \
      to the cluster's agents through the API server, which runs `weft-agent admin` in their pods if you may \
      (`pods/exec`; the roles are called weft-inspect).

      Exit status: 0 fine, 1 a check failed or something is unhealthy, 2 usage, 3 no answer from the agent or the API \
      server. `weft help exit-codes` has the whole list.
      """,
    subcommands: [
      Check.self, Status.self, Workloads.self, Services.self, Routes.self, Policies.self, Endpoints.self,
      Connections.self, IdentityCommand.self, BPF.self, Dump.self, Version.self, Completion.self, ExitCodes.self,
      Install.self, Upgrade.self, Uninstall.self, Inject.self,
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

  @Option(
    help: "The agent of this node: one of a lab's (first $WEFT_LAB), of this machine's, or of the cluster's.",
    completion: .shellCommand(Completion.names("nodes")))
  var node: String?

  @Option(
    help: "The agent of this pod's node, in the cluster: NAME, NAMESPACE/NAME or deploy/NAME.",
    completion: .shellCommand(Completion.names("pods")))
  var pod: String?

  @Flag(name: [.customShort("A"), .long], help: "Every node's agent, in the cluster: also on a node.")
  var all = false

  @Option(
    name: [.customShort("n"), .long], help: "Only what belongs to this namespace.",
    completion: .shellCommand(Completion.names("namespaces")))
  var namespace: String?

  @OptionGroup var kubeconfig: KubeconfigOptions

  @Option(
    name: [.short, .long],
    help:
      "table for people, json for programs: what the agent said; of a cluster's agents an array with node and answer.")
  var output: OutputFormat = .table

  /// Whether the arguments can only mean a cluster.
  var namesCluster: Bool { kubeconfig.isGiven || pod != nil || all }

  func validate() throws {
    if socket != nil, node != nil { throw ValidationError("Give --socket or --node, not both.") }
    if socket != nil, namesCluster {
      throw ValidationError("--socket is this machine's: --context, --kubeconfig, --pod and -A are a cluster's.")
    }
    guard [node != nil, pod != nil, all].count(where: { $0 }) <= 1 else {
      throw ValidationError("Give one of --node, --pod and -A.")
    }
    if let namespace, !DNSName.isLabel(namespace) {
      throw ValidationError("\"\(Text.printable(namespace))\" isn't the name of a namespace.")
    }
  }
}
