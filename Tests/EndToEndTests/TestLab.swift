import Foundation
import Testing

/// A running lab: two nodes and the pods of `Programs/mesh`, driven by the real programs.
struct TestLab: Sendable {
  /// The lab of the suite that is running.
  @TaskLocal static var current: TestLab?

  /// The lab of the suite that is running.
  static func running() throws -> TestLab { try #require(current, "this test needs a lab: give its suite .lab(…)") }

  let name: String
  var folder: String { "/run/weft-lab/\(name)" }

  static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
  /// Where the programs that run inside pods are.
  static let programs = tests.appendingPathComponent("Programs").path

  /// The folder of the mesh's programs: `$BIN`, else beside the tests, where SwiftPM builds them.
  static let binaries: String = {
    if let chosen = ProcessInfo.processInfo.environment["BIN"], !chosen.isEmpty { return chosen }
    let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") }
    let running = bundle ?? (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return URL(fileURLWithPath: running).deletingLastPathComponent().path
  }()

  static let root = tests.deletingLastPathComponent().deletingLastPathComponent()

  static let environment: [String: String] = {
    var environment = ProcessInfo.processInfo.environment
    environment["BIN"] = binaries
    environment["WEFT_BPF_OBJECT"] =
      environment["WEFT_BPF_OBJECT"] ?? root.appendingPathComponent("bpf/build/weft.bpf.o").path
    return environment
  }()

  /// Runs a script of the repository that makes labs of its own and checks each of its lines.
  static func script(_ path: String, arguments: [String] = [], timeout: Double) throws -> Finished {
    try Finished.of("/usr/bin/env", ["python3", root.appendingPathComponent(path).path] + arguments, timeout: timeout)
  }

  /// Makes the lab, having removed what a run before may have left.
  static func up(_ name: String, directory: String? = nil, arguments: [String] = []) throws -> TestLab {
    let lab = TestLab(name: name)
    let made = try lab.lab("up", [directory ?? "\(programs)/mesh", "--quiet"] + arguments, timeout: 90)
    guard made.status == 0 else {
      let logs = (try? lab.lab("logs", []))?.output.suffix(3000) ?? ""
      lab.down()
      throw TestFailure("weft-lab up: \(made.errors)\n\(logs)")
    }
    return lab
  }

  func down() {
    // For whoever looks for the reason of a failure: the logs go with the lab.
    if let kept = ProcessInfo.processInfo.environment["WEFT_E2E_LOGS"], !kept.isEmpty {
      try? FileManager.default.createDirectory(atPath: kept, withIntermediateDirectories: true)
      try? FileManager.default.removeItem(atPath: "\(kept)/\(name)")
      try? FileManager.default.copyItem(atPath: "\(folder)/logs", toPath: "\(kept)/\(name)")
    }
    do {
      let done = try lab("down", [], timeout: 60)
      if done.status != 0 { Issue.record("weft-lab down: \(done.errors)") }
    } catch {
      Issue.record(error)
    }
  }

  // MARK: weft-lab

  func lab(_ verb: String, _ arguments: [String], timeout: Double = 30) throws -> Finished {
    try Finished.of("\(Self.binaries)/weft-lab", [verb, "--name", name] + arguments, timeout: timeout)
  }

  /// As `lab`, for what has to succeed.
  @discardableResult
  func act(_ verb: String, _ arguments: String..., timeout: Double = 30) throws -> String {
    let done = try lab(verb, arguments, timeout: timeout)
    guard done.status == 0 else {
      throw TestFailure("weft-lab \(verb) \(arguments.joined(separator: " ")): \(done.errors)\(done.output)")
    }
    return done.output
  }

  /// Applies YAML; `#expect`s nothing: the caller judges the end.
  func apply(_ yaml: String, timeout: Double = 30) throws -> Finished {
    let path = "\(folder)/apply-\(UUID().uuidString).yaml"
    try yaml.write(toFile: path, atomically: true, encoding: .utf8)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try lab("apply", [path], timeout: timeout)
  }

  private func execArguments(_ pod: String, _ namespace: String, _ command: [String]) -> [String] {
    ["exec", "--name", name, "-n", namespace, pod, "--"] + command
  }

  /// Runs a command inside a pod.
  func exec(
    _ pod: String, in namespace: String = "shop", _ command: [String], timeout: Double = 30
  ) throws -> Finished {
    try Finished.of("\(Self.binaries)/weft-lab", execArguments(pod, namespace, command), timeout: timeout)
  }

  /// Runs one of `Programs` inside a pod and gives the facts that it prints as JSON.
  func facts(
    _ pod: String, in namespace: String = "shop", _ program: String, _ arguments: String..., timeout: Double = 30
  ) throws -> Facts {
    let done = try exec(
      pod, in: namespace, ["python3", "\(Self.programs)/\(program)"] + arguments, timeout: timeout)
    return try Facts(of: done, named: "\(program) \(arguments.joined(separator: " "))")
  }

  /// Starts one of `Programs` inside a pod.
  func start(
    _ pod: String, in namespace: String = "shop", _ program: String, _ arguments: String...
  ) throws -> Started {
    try Started(
      "\(Self.binaries)/weft-lab",
      execArguments(pod, namespace, ["python3", "\(Self.programs)/\(program)"] + arguments))
  }

  // MARK: weft

  func weft(_ node: String, _ command: String, _ arguments: String...) throws -> Finished {
    try Finished.of(
      "\(Self.binaries)/weft", ["--socket", "\(folder)/nodes/\(node)/run/agent.sock", command] + arguments)
  }

  /// What the agent of a node answers, whatever the exit status: that says whether all is well.
  func ask(_ node: String, _ command: String) throws -> Facts {
    let done = try weft(node, command, "-o", "json")
    return try Facts(json: done.output, or: "weft \(command) on node \(node): \(done.errors)")
  }

  // MARK: what the tests often ask

  func workload(_ id: String, on node: String) throws -> Facts? {
    try ask(node, "workloads")["workloads"].list.first { $0["uid"].text == id }
  }

  func proxy(_ node: String) throws -> Int { try ask(node, "status")["proxy"]["pid"].int ?? 0 }

  /// The pod's IPv4 and IPv6 address.
  func addresses(_ pod: String, in namespace: String = "shop") throws -> (v4: String, v6: String) {
    let state = try Facts(json: String(contentsOfFile: "\(folder)/lab.json", encoding: .utf8), or: "lab.json")
    for entry in state["pods"].list where entry["id"]["name"].text == pod && entry["id"]["namespace"].text == namespace
    {
      let found = entry["addresses"].list.compactMap(\.text)
      return (found.first ?? "", found.count > 1 ? found[1] : "")
    }
    throw TestFailure("lab.json has no pod \(namespace)/\(pod)")
  }

  func log(_ file: String) -> String {
    (try? String(contentsOfFile: "\(folder)/logs/\(file).log", encoding: .utf8)) ?? ""
  }
}

/// Makes a lab for a suite, and removes it after the suite's tests, also where they failed.
struct LabTrait: SuiteTrait, TestScoping {
  let name: String
  let directory: String?
  let arguments: [String]

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    let lab = try TestLab.up(name, directory: directory, arguments: arguments)
    defer { lab.down() }
    try await TestLab.$current.withValue(lab) { try await function() }
  }
}

extension Trait where Self == LabTrait {
  /// A lab of the suite's own, named so that two suites' never meet.
  /// - Parameter programs: the folder of `Programs` that it is made of, where that isn't `mesh`.
  static func lab(_ name: String, programs: String? = nil, _ arguments: String...) -> LabTrait {
    LabTrait(name: name, directory: programs.map { "\(TestLab.programs)/\($0)" }, arguments: arguments)
  }
}

/// All suites that make labs: one lab at a time, so that each has the machine's cores.
@Suite(
  .serialized,
  // Network namespaces, cgroups and eBPF need root.
  .enabled(if: geteuid() == 0, "needs root: it makes network namespaces and loads eBPF programs"))
enum EndToEnd {}

struct TestFailure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Waits until `condition` holds, on a machine that stalls three times as long, and 30 seconds at least; nothing it throws
/// ends the wait.
func wait(
  _ seconds: Double, for what: String, sourceLocation: SourceLocation = #_sourceLocation,
  until condition: () throws -> Bool
) {
  let limit = max(30, 3 * seconds)
  let end = Date().addingTimeInterval(limit)
  repeat {
    if (try? condition()) == true { return }
    usleep(30_000)
  } while Date() < end
  Issue.record("waited \(limit) s for \(what)", sourceLocation: sourceLocation)
}
