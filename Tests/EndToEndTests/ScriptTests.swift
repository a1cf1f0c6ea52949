import Foundation
import Testing

/// The demo, and what outlives what, as tests: scripts that check each of their lines on a mesh of their own, with the
/// programs that stand beside this test.
@Suite(.serialized)
struct ScriptTests {
  @Test(
    "every line of the demo holds", .enabled(if: geteuid() == 0, "needs root: it makes network namespaces"),
    .timeLimit(.minutes(3)))
  func demo() throws { try pass("demo/demo.py") }

  @Test(
    "crashes, restarts, rotation, a full disk and enrolment in circles",
    .enabled(if: geteuid() == 0, "needs root: it makes network namespaces"), .timeLimit(.minutes(6)))
  func resilience() throws { try pass("Tests/Resilience/resilience.py") }

  private func pass(_ script: String) throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", root.appendingPathComponent(script).path]
    var environment = ProcessInfo.processInfo.environment
    environment["BIN"] = root.appendingPathComponent(".build/debug").path
    environment["WEFT_BPF_OBJECT"] =
      environment["WEFT_BPF_OBJECT"] ?? root.appendingPathComponent("bpf/build/weft.bpf.o").path
    process.environment = environment
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    #expect(process.terminationStatus == 0, "\(text)")
  }
}
