import Foundation
import KubernetesAPI
import Testing

@testable import CLI

@Suite struct KubeconfigOptionsTests {
  private static func text(_ name: String) -> String {
    """
    current-context: \(name)
    clusters: [{name: \(name), cluster: {server: "https://\(name)"}}]
    contexts: [{name: \(name), context: {cluster: \(name)}}]
    """
  }

  private static func with(_ body: (_ folder: String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("options-\(UUID())").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try FileManager.default.createDirectory(atPath: "\(folder)/.kube", withIntermediateDirectories: true)
    for name in ["a", "b"] { try text(name).write(toFile: "\(folder)/\(name)", atomically: true, encoding: .utf8) }
    try text("home").write(toFile: "\(folder)/.kube/config", atomically: true, encoding: .utf8)
    try body(folder)
  }

  @Test func filesOfTheEnvironment() throws {
    try Self.with { (folder: String) throws in
      func url(_ named: String, _ arguments: [String] = []) throws -> String {
        try KubeconfigOptions.parse(arguments).server(environment: ["KUBECONFIG": named, "HOME": folder]).url
      }
      let both = "\(folder)/none::\(folder)/a:\(folder)/b"
      #expect(try url(both) == "https://a")
      #expect(try url(both, ["--context", "b"]) == "https://b", "of the second file")
      #expect(try url(both, ["--kubeconfig", "\(folder)/b"]) == "https://b")
      #expect(throws: Failure.self, "a file that is named isn't merged") {
        try url(both, ["--kubeconfig", "\(folder)/b", "--context", "a"])
      }
      #expect(try url("") == "https://home")
      let absent = #expect(throws: Failure.self) { try url("\(folder)/none:\(folder)/neither") }
      #expect(absent?.status == .usage && absent?.message.contains("\(folder)/none can't be opened") == true)
      #expect(
        KubeconfigOptions.standardPaths(["KUBECONFIG": both]) == ["\(folder)/a", "\(folder)/b"]
          && KubeconfigOptions.standardPath(["KUBECONFIG": "\(folder)/none"]) == nil)
    }
  }

  @Test func aContextsUserIsImpersonated() throws {
    try Self.with { (folder: String) throws in
      let text = """
        current-context: c
        clusters: [{name: c, cluster: {server: "https://c"}}]
        users: [{name: u, user: {token: t, as: jane}}]
        contexts: [{name: c, context: {cluster: c, user: u}}]
        """
      try text.write(toFile: "\(folder)/c", atomically: true, encoding: .utf8)
      let server = try KubeconfigOptions.parse(["--kubeconfig", "\(folder)/c"]).server(environment: [:])
      #expect(server.impersonation?.user == "jane")
    }
  }
}
