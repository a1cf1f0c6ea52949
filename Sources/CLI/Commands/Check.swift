import ArgumentParser
import FoundationEssentials

struct Check: AgentCommand {
  static let configuration = CommandConfiguration(
    abstract: "Checks the installation, on this node or of the cluster, and says how to repair what isn't in order.",
    discussion: """
      On a node: what its agent finds; where it isn't reachable, what can be checked without it still is.

      Of a cluster: control planes and their leader, rights, definitions, the CA's and the webhook's certificates, which \
      node has no agent and why, kernels, versions, what agents refuse, which pod isn't captured and why, and objects \
      whose status says that they aren't as they are written.
      """)
  static let path = "/v1/check"
  @OptionGroup var options: GlobalOptions

  @Option(help: "Without an agent: the cgroup that holds the pods. Default: the root of the cgroup v2 tree.")
  var cgroupRoot: String?

  @Flag(help: "Before an installation: checks whether the cluster can take Weft.")
  var pre = false

  func isHealthy(_ answer: CheckAnswer) -> Bool { answer.checks.allSatisfy(\.ok) }

  func table(_ answer: CheckAnswer, _ style: Style) -> String {
    let width = answer.checks.map { Text.printable($0.name).count }.max() ?? 0
    var text = ""
    for check in answer.checks {
      let name = Text.printable(check.name)
      let padding = String(repeating: " ", count: width + 2 - name.count)
      let mark = check.ok ? style.success : style.failure
      text += "\(mark) \(name)\(padding)\(Text.printable(check.detail))\n"
      guard !check.ok, let repair = check.repair, !repair.isEmpty else { continue }
      text += String(repeating: " ", count: mark.count + width + 3) + "how to repair it: \(Text.printable(repair))\n"
    }
    return text
  }

  func execute() async throws -> CommandResult {
    guard !pre else { return try await beforeInstallation(Style.ofProcess()) }
    if case .cluster = try AgentSource.choose(options) { return try await checkCluster() }
    do {
      return try render(await ask(), Style.ofProcess())
    } catch let failure as Failure where failure.status == .unreachable {
      return try withoutAgent(failure, LocalChecks.run(cgroupRoot: cgroupRoot), Style.ofProcess())
    }
  }

  private func beforeInstallation(_ style: Style) async throws -> CommandResult {
    let checks = try await options.kubeconfig.withCluster(timeout: .seconds(60)) {
      try await PreflightChecks(cluster: $0).run()
    }
    let answer = CheckAnswer(checks: checks)
    return CommandResult(text: try text(answer, style), status: isHealthy(answer) ? .fine : .unhealthy)
  }

  private func text(_ answer: CheckAnswer, _ style: Style) throws -> String {
    guard options.output == .json else { return table(answer, style) }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return PrettyJSON.format(try encoder.encode(answer))
  }

  /// The local checks' result, with the agent as the check that failed.
  func withoutAgent(_ failure: Failure, _ checks: [CheckAnswer.Entry], _ style: Style) throws -> CommandResult {
    let agent = CheckAnswer.Entry(
      name: "agent", ok: false, detail: failure.message,
      repair: "start weft-agent here; the checks above were made without it, as this user")
    let answer = CheckAnswer(checks: checks + [agent])
    return CommandResult(text: try text(answer, style), status: .unreachable)
  }
}
