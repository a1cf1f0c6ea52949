import Foundation
import Testing

@testable import KubernetesAPI

/// What kubectl does with kubeconfigs beyond reading one.
@Suite struct KubeconfigMergeTests {
  /// A folder with a file for each text, `0`, `1` and so on, and what `body` makes of their paths.
  private static func with(_ texts: [String], _ body: (_ folder: String, _ paths: [String]) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kubeconfigs-\(UUID())").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    var paths: [String] = []
    for (index, text) in texts.enumerated() {
      try FileManager.default.createDirectory(atPath: "\(folder)/\(index)", withIntermediateDirectories: true)
      paths.append("\(folder)/\(index)/config")
      try text.write(toFile: paths[index], atomically: true, encoding: .utf8)
    }
    try body(folder, paths)
  }

  private static func refusal(cluster: String = "", user: String) throws -> String {
    var reason = ""
    try with([one(cluster: cluster, user: user)]) { _, paths in
      let config = try Kubeconfig(paths: paths)
      let error = #expect(throws: KubeconfigError.self) { try config.server() }
      reason = error?.description ?? ""
      #expect(reason.hasPrefix(paths[0]), "\(reason)")
    }
    return reason
  }

  private static func one(cluster: String = "", user: String) -> String {
    """
    current-context: main
    clusters: [{name: c, cluster: {server: "https://c:6443", \(cluster)}}]
    users: [{name: u, user: {\(user)}}]
    contexts: [{name: main, context: {cluster: c, user: u}}]
    """
  }

  // MARK: Several files

  @Test func theFirstFileWins() throws {
    let first = """
      current-context: ""
      clusters: [{name: c, cluster: {server: "https://first", certificate-authority: ca.crt}}]
      users: [{name: u, user: {tokenFile: token}}]
      contexts: null
      """
    let second = """
      current-context: main
      clusters:
      - {name: c, cluster: {server: "https://second", tls-server-name: second}}
      - {name: d, cluster: {server: "https://d", certificate-authority: ca.crt}}
      users: [{name: u, user: {token: second}}]
      contexts: [{name: main, context: {cluster: c, user: u}}, {name: other, context: {cluster: d}}]
      """
    let third = """
      current-context: other
      contexts: [{name: main, context: {cluster: d}}]
      """
    try Self.with([first, "", second, third]) { folder, paths in
      for index in [0, 2] {
        try "CA of \(index)".write(toFile: "\(folder)/\(index)/ca.crt", atomically: true, encoding: .utf8)
      }
      try "token of 0".write(toFile: "\(folder)/0/token", atomically: true, encoding: .utf8)
      let config = try Kubeconfig(paths: paths)
      #expect(config.contexts == ["main", "other"])
      let main = try config.server()
      #expect(main.url == "https://first" && main.serverName.isEmpty, "nothing of a later entry of that name")
      #expect(main.authorities == Array("CA of 0".utf8))
      #expect(try TokenSource(main.credential).token() == "token of 0")
      #expect(try config.server(context: "other").authorities == Array("CA of 2".utf8))
      let error = #expect(throws: KubeconfigError.self) { try config.server(context: "away") }
      #expect(error?.description.contains(paths[3]) == true)
      #expect(throws: KubeconfigError.self) { try Kubeconfig(paths: paths + ["\(folder)/none"]) }
      #expect(throws: KubeconfigError.self) { try Kubeconfig(paths: [String](repeating: paths[0], count: 33)) }
    }
  }

  // MARK: Plugins

  /// What one beside its kubeconfig is told, which it gives as its token.
  private static func question(_ field: String) throws -> JSONNode {
    let script =
      #"printf "{\"status\": {\"token\": \"%s\"}}" "$(printf %s "$KUBERNETES_EXEC_INFO" | base64 -w 0)""#
    let exec =
      "exec: {apiVersion: client.authentication.k8s.io/v1, command: bin/plugin, args: [-c, '\(script)'], \(field)}"
    let cluster = "certificate-authority-data: aGVsbG8=, insecure-skip-tls-verify: true, tls-server-name: api"
    var question = JSONNode.null
    try with([one(cluster: cluster, user: exec)]) { folder, paths in
      try FileManager.default.createDirectory(atPath: "\(folder)/0/bin", withIntermediateDirectories: false)
      try FileManager.default.createSymbolicLink(atPath: "\(folder)/0/bin/plugin", withDestinationPath: "/bin/sh")
      let token = try TokenSource(try Kubeconfig(paths: paths).server().credential).token()
      let bytes = try #require(Data(base64Encoded: token ?? ""))
      question = try JSONReader.read(Array(bytes))
    }
    return question
  }

  @Test func aPluginIsToldOfItsClusterWhereItAsks() throws {
    let cluster: JSONNode = [
      "server": "https://c:6443", "tls-server-name": "api", "insecure-skip-tls-verify": true,
      "certificate-authority-data": "aGVsbG8=", "config": .null,
    ]
    let told: JSONNode = [
      "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
      "spec": ["cluster": cluster, "interactive": false],
    ]
    #expect(try Self.question("provideClusterInfo: true") == told)
    #expect(try Self.question("provideClusterInfo: false")["spec"]?["cluster"] == nil)
    let plain: JSONNode = ["server": "https://c", "config": .null]
    #expect(try ExecPlugin.cluster(of: APIServer(url: "https://c")) == plain)
  }

  // MARK: What changes as whom, and how, one asks

  @Test func impersonation() throws {
    try Self.with([Self.one(user: "token: t, as: jane, as-uid: 7, as-groups: [a, 'b c']")]) { _, paths in
      let server = try Kubeconfig(paths: paths).server()
      #expect(server.impersonation == Impersonation(user: "jane", uid: "7", groups: ["a", "b c"]))
    }
    try Self.with([Self.one(user: "token: t, as: '', as-groups: [], as-user-extra: {}")]) { _, paths in
      let server = try Kubeconfig(paths: paths).server()
      #expect(server.impersonation == nil)
    }
  }

  @Test(arguments: [
    ("as: jane, as-user-extra: {reason: [a]}", "as-user-extra"), ("as-groups: [a]", "without as"),
    ("as-uid: 7", "without as"), ("as: ' jane'", "no header field"), ("as: \"a\\nb\"", "no header field"),
    ("as: jane, as-groups: ['']", "no header field"), ("as: jane, as-uid: \"\\u007f\"", "no header field"),
  ])
  func aUserThatCannotBeImpersonatedIsRefused(fields: String, reason: String) throws {
    let told = try Self.refusal(user: "token: t, \(fields)")
    #expect(told.contains("user \"u\"") && told.contains(reason), "\(told)")
  }

  @Test func boundsOfImpersonation() throws {
    let groups = (0...64).map { "g\($0)" }.joined(separator: ", ")
    #expect(try Self.refusal(user: "as: jane, as-groups: [\(groups)]").contains("at most 64"))
    let name = String(repeating: "a", count: 1025)
    #expect(try Self.refusal(user: "as: \(name)").contains("1024 bytes"))
  }

  @Test func aProxyIsRefused() throws {
    let told = try Self.refusal(cluster: "proxy-url: 'socks5://localhost:1080'", user: "token: t")
    #expect(told.contains("cluster \"c\" has a proxy-url"), "\(told)")
  }
}
