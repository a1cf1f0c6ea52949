import Foundation
import Testing

@testable import Lab

/// A folder of YAML files that goes with the test.
final class Folder {
  let path: String

  init(_ files: [String: String] = [:]) throws {
    path = FileManager.default.temporaryDirectory.path + "/weft-lab-tests-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for (name, text) in files { try write(name, text) }
  }

  func write(_ name: String, _ text: String) throws {
    try text.write(toFile: "\(path)/\(name)", atomically: false, encoding: .utf8)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// The program under test, run as a user runs it.
enum Program {
  static let path = "\(Programs.directory)/weft-lab"
  /// Making namespaces and cgroups takes root, and the link's capture takes tcpdump.
  static let canMakeLabs = geteuid() == 0 && (try? Cgroup.mountPoint()) != nil && access(path, X_OK) == 0

  struct Result {
    var status: ProcessEnd
    var output: String
    var errors: String
  }

  static func start(_ arguments: [String], input: String? = nil) throws -> Process {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.standardOutput = Pipe()
    process.standardError = Pipe()
    let stdin = Pipe()
    process.standardInput = stdin
    try process.run()
    try stdin.fileHandleForWriting.write(contentsOf: Data((input ?? "").utf8))
    try stdin.fileHandleForWriting.close()
    return process
  }

  static func finish(_ process: Process) throws -> Result {
    // What the program prints here is less than a pipe holds, one after the other is fine.
    let output = try (process.standardOutput as? Pipe)?.fileHandleForReading.readToEnd() ?? Data()
    let errors = try (process.standardError as? Pipe)?.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    let status: ProcessEnd =
      process.terminationReason == .uncaughtSignal
      ? .signal(process.terminationStatus) : .code(process.terminationStatus)
    return Result(
      status: status, output: String(decoding: output, as: UTF8.self), errors: String(decoding: errors, as: UTF8.self))
  }

  static func run(_ arguments: String..., input: String? = nil) throws -> Result {
    try finish(start(arguments, input: input))
  }
}

/// A name that no other test, also of another run, uses; removed with the test whatever happens.
final class LabGuard {
  let name: String
  let layout: Layout

  init(_ tag: String) throws {
    name = "\(tag)\(getpid() % 1_000_000)"
    layout = try Lab.layout(try #require(LabName(name)))
  }

  var hasTraces: Bool { Teardown.hasTraces(layout) }

  deinit { _ = try? Program.run("down", "--name", name) }
}

enum Sample {
  static let nodes = """
    apiVersion: v1
    kind: Node
    metadata: {name: east}
    ---
    apiVersion: v1
    kind: Node
    metadata: {name: west}

    """

  static func pod(_ name: String, on node: String, _ container: String) -> String {
    """
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: \(name)}
    spec:
      nodeName: \(node)
      containers:
      - name: main
        \(container)

    """
  }

  static let sleeping = "command: [sleep, infinity]"
  static func echo(_ name: String, port: Int) -> String {
    """
    command: [weft-lab, echo, --tcp, "\(port)", --udp, "\(port)", --name, \(name)]
        ports: [{containerPort: \(port)}, {containerPort: \(port), protocol: UDP}]
    """
  }
}
