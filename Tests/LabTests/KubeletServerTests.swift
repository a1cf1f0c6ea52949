import CLinux
import Foundation
import Glibc
import KubernetesAPI
import Synchronization
import Testing

@testable import Lab

/// The kubelet's server with real processes, asked by a real API server for kubectl and for weft's own client.
@Suite(.serialized) struct KubeletServerTests {
  static let cluster =
    URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().path + "/Kubernetes/exec_cluster.py"
  static let hasCluster = access("/var/cache/weft-kubernetes/bin/kube-apiserver", X_OK) == 0

  /// Containers that are this machine's own processes.
  private final class Containers: ContainerAccess {
    let path: String
    let isRunning = Mutex(true)

    init(_ path: String) { self.path = path }

    func launch(_ command: [String], in container: ContainerName) throws -> Launch {
      guard container.container == "c" else { throw LabError("no container \(container)") }
      guard let path = Commands.find(command[0], searchPath: Commands.searchPath, directory: "/") else {
        throw LabError("\(command[0]) is no program in \(container)")
      }
      return Launch(path: path, arguments: Array(command.dropFirst()), environment: ["PATH=\(Commands.searchPath)"])
    }

    func log(of container: ContainerName) throws -> String { path }
    func isRunning(_ container: ContainerName) -> Bool { isRunning.withLock { $0 } }
  }

  private static func listener() throws -> CInt {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
    }
    let listens = bound == 0 && listen(descriptor, 16) == 0
    try #require(listens)
    return descriptor
  }

  /// The server, and a client that asks it through an API server.
  private static func through(
    _ body: (KubernetesClient, Containers, (String...) throws -> (Int32, String)) async throws -> Void
  ) async throws {
    let folder = try Folder(["log": "one\ntwo\nthree\n"])
    let containers = Containers("\(folder.path)/log")
    let server = try await KubeletServer.start(listener: listener(), node: "one", containers: containers)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
    process.arguments = [cluster, "\(server.port)"]
    let (input, output) = (Pipe(), Pipe())
    process.standardInput = input
    process.standardOutput = output
    try process.run()
    defer {
      // The cluster goes when its input ends.
      try? input.fileHandleForWriting.close()
      process.waitUntilExit()
    }
    let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
    let kubeconfig = line.trimmingCharacters(in: .whitespacesAndNewlines)
    try #require(kubeconfig.hasPrefix("/"), "no cluster: \(line)")
    let client = try KubernetesClient(try Kubeconfig(path: kubeconfig).server())
    try await body(client, containers) { arguments in
      let kubectl = Process()
      kubectl.executableURL = URL(fileURLWithPath: "/usr/bin/kubectl")
      kubectl.arguments = ["--kubeconfig", kubeconfig] + arguments
      let (typed, said) = (Pipe(), Pipe())
      kubectl.standardInput = typed
      kubectl.standardOutput = said
      kubectl.standardError = said
      try kubectl.run()
      try typed.fileHandleForWriting.write(contentsOf: Data("typed\n".utf8))
      try typed.fileHandleForWriting.close()
      let text = String(decoding: try said.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
      kubectl.waitUntilExit()
      return (kubectl.terminationStatus, text)
    }
    await client.shutdown()
    await server.stop()
  }

  @Test(.enabled(if: hasCluster), .timeLimit(.minutes(2))) func execAndLogsThroughTheAPIServer() async throws {
    try await Self.through { client, containers, kubectl in
      // weft's own client.
      func exec(_ command: String..., limit: Int = 1 << 20, seconds: Int = 20, container: String = "c")
        async throws(ExecError) -> ExecOutcome
      {
        try await client.exec(
          command, namespace: "default", pod: "p", container: container, maximumOutput: limit, seconds: seconds)
      }
      let outcome = try await exec("sh", "-c", "echo out; echo err >&2; exit 7")
      #expect(outcome == ExecOutcome(output: Array("out\n".utf8), errors: Array("err\n".utf8), status: 7))
      let much = try await exec("head", "-c", "1000000", "/dev/zero")
      #expect(much.output.count == 1_000_000 && much.status == 0)
      await #expect(throws: ExecError.tooLong(1 << 20)) { try await exec("head", "-c", "2000000", "/dev/zero") }
      await #expect(throws: ExecError.timeout(1)) { try await exec("sleep", "77.25", seconds: 1) }
      // The client has gone, and so has its command.
      let isGone = try Waiting.poll(seconds: 5) { Self.count(of: "77.25") == 0 }
      #expect(isGone)
      let absent = await #expect(throws: ExecError.self) { try await exec("no-such-program") }
      #expect("\(String(describing: absent))".contains("no-such-program is no program"))
      let other = await #expect(throws: ExecError.self) { try await exec("true", container: "other") }
      guard case .api? = other else {
        Issue.record("\(String(describing: other))")
        return
      }
      // kubectl.
      #expect(try kubectl("exec", "p", "--", "sh", "-c", "echo $0 $1 'a  b'; exit 3").1.contains(" a  b\n"))
      #expect(try kubectl("exec", "p", "--", "sh", "-c", "exit 3").0 == 3)
      #expect(try kubectl("exec", "-i", "p", "--", "cat") == (0, "typed\n"))
      #expect(try kubectl("logs", "p") == (0, "one\ntwo\nthree\n"))
      #expect(try kubectl("logs", "p", "--tail", "1") == (0, "three\n"))
      containers.isRunning.withLock { $0 = false }
      #expect(try kubectl("logs", "p", "-f", "--tail", "2") == (0, "two\nthree\n"))
    }
  }

  private static func count(of text: String) -> Int {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return entries.count { entry in
      guard Int(entry) != nil, let line = FileManager.default.contents(atPath: "/proc/\(entry)/cmdline") else {
        return false
      }
      return String(decoding: line, as: UTF8.self).contains(text)
    }
  }
}
