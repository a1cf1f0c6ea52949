import Foundation
import Testing

/// Weft and the real Envoy over HBONE, each as client and as server of the other. The steps, and what each checks,
/// stand in `Tests/Interop/envoy_interop.py`, which takes Envoy from where the benchmarks keep theirs.
@Suite(.serialized)
struct EnvoyInteropTests {
  @Test(
    "Envoy and Weft carry each other's streams, and refuse each other's strangers",
    // Network namespaces, cgroups and eBPF need root.
    .enabled(if: geteuid() == 0, "needs root: it makes network namespaces"),
    .timeLimit(.minutes(3)))
  func envoyInterop() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3", root.appendingPathComponent("Tests/Interop/envoy_interop.py").path]
    var environment = ProcessInfo.processInfo.environment
    environment["BIN"] = try programs().path
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

  /// The folder of the test's own program, where SwiftPM puts the project's programs too.
  private func programs() throws -> URL {
    let running = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    var folder = URL(fileURLWithPath: running).deletingLastPathComponent()
    // Where the tests run inside a helper of the toolchain, their bundle's place says it.
    if !FileManager.default.isExecutableFile(atPath: folder.appendingPathComponent("weft-lab").path),
      let bundle = CommandLine.arguments.first(where: { $0.hasSuffix(".xctest") })
    {
      folder = URL(fileURLWithPath: bundle).deletingLastPathComponent()
    }
    return try #require(
      FileManager.default.isExecutableFile(atPath: folder.appendingPathComponent("weft-lab").path) ? folder : nil,
      "weft-lab isn't beside the tests in \(folder.path): run `swift build` first")
  }
}
