import ArgumentParser
import FoundationEssentials

struct Check: AgentCommand {
  static let configuration = CommandConfiguration(
    abstract: "Checks the installation on this node, and says how to repair what isn't in order.",
    discussion: "Where the agent isn't reachable, what can be checked without it still is.")
  static let path = "/v1/check"
  @OptionGroup var options: GlobalOptions

  @Option(help: "Without an agent: the cgroup that holds the pods. Default: the root of the cgroup v2 tree.")
  var cgroupRoot: String?

  @Flag(help: "Before an installation: checks the cluster. The other options of a cluster belong to it.")
  var pre = false

  @OptionGroup var kubeconfig: KubeconfigOptions

  func validate() throws {
    guard pre || !kubeconfig.isGiven else { throw ValidationError("--kubeconfig and --context belong to --pre.") }
  }

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
    do {
      return try render(await ask(), Style.ofProcess())
    } catch let failure as Failure where failure.status == .unreachable {
      return try withoutAgent(failure, LocalChecks.run(cgroupRoot: cgroupRoot), Style.ofProcess())
    }
  }

  private func beforeInstallation(_ style: Style) async throws -> CommandResult {
    let checks = try await kubeconfig.withCluster(timeout: .seconds(60)) {
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
