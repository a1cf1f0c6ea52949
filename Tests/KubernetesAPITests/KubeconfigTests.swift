import Foundation
import Testing

@testable import KubernetesAPI

@Suite struct KubeconfigTests {
  private func folder(_ files: [String: String]) throws -> String {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kubeconfig-\(UUID())").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for (name, text) in files { try text.write(toFile: "\(folder)/\(name)", atomically: true, encoding: .utf8) }
    return folder
  }

  private let text = """
    apiVersion: v1
    kind: Config
    current-context: main
    clusters:
    - name: c
      cluster: {server: "https://10.0.0.1:6443/", certificate-authority: ca.crt, tls-server-name: api}
    - name: d
      cluster: {server: "https://d", certificate-authority-data: aGVsbG8=, insecure-skip-tls-verify: true}
    users:
    - name: file
      user: {tokenFile: token}
    - name: token
      user: {token: abc}
    - name: certificate
      user: {client-certificate-data: aGVsbG8=, client-key: key.pem}
    - name: plugin
      user:
        exec:
          apiVersion: client.authentication.k8s.io/v1
          command: sh
          args: [-c, 'echo "{\\"status\\": {\\"token\\": \\"$NAME\\", \\"expirationTimestamp\\": \\"2030-01-01T00:00:00Z\\"}}"']
          env: [{name: NAME, value: made}]
    contexts:
    - name: main
      context: {cluster: c, user: file, namespace: shop}
    - name: other
      context: {cluster: d, user: token}
    - name: certificate
      context: {cluster: d, user: certificate}
    - name: plugin
      context: {cluster: d, user: plugin}
    - name: nobody
      context: {cluster: d, user: none}
    - name: nowhere
      context: {cluster: none}
    """

  @Test func contexts() throws {
    let folder = try folder(["config": text, "ca.crt": "the CA", "token": " first \n", "key.pem": "the key"])
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let config = try Kubeconfig(path: "\(folder)/config")
    let main = try config.server()
    #expect(main.url == "https://10.0.0.1:6443" && main.namespace == "shop" && main.serverName == "api")
    #expect(main.authorities == Array("the CA".utf8) && !main.isUnverified)
    let tokens = TokenSource(main.credential)
    #expect(try tokens.token() == "first")
    let other = try config.server(context: "other")
    #expect(other.authorities == Array("hello".utf8) && other.isUnverified && other.namespace == "default")
    #expect(try TokenSource(other.credential).token() == "abc")
    #expect(
      try TokenSource(try config.server(context: "certificate").credential).certificate()
        == ClientCertificate(chain: Array("hello".utf8), key: Array("the key".utf8)))
    #expect(try TokenSource(try config.server(context: "plugin").credential).token() == "made")
  }

  @Test(arguments: [
    ("nobody", "no user \"none\""), ("nowhere", "no cluster \"none\""), ("away", "no context \"away\""),
  ])
  func whatIsMissingIsSaid(context: String, reason: String) throws {
    let folder = try folder(["config": text])
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let config = try Kubeconfig(path: "\(folder)/config")
    let error = #expect(throws: KubeconfigError.self) { try config.server(context: context) }
    #expect(error?.description.contains(reason) == true, "\(String(describing: error))")
  }

  @Test(arguments: ["a: [", "clusters: 5", "- a", "clusters: [{name: a}]"])
  func whatIsNoKubeconfigIsRefused(text: String) throws {
    let folder = try folder(["config": text])
    defer { try? FileManager.default.removeItem(atPath: folder) }
    #expect(throws: KubeconfigError.self) { try Kubeconfig(path: "\(folder)/config") }
    #expect(throws: KubeconfigError.self) { try Kubeconfig(path: "\(folder)/none") }
  }

  private func plugin(_ status: String) -> TokenSource {
    TokenSource(
      .plugin(
        ExecPlugin(
          apiVersion: "client.authentication.k8s.io/v1", command: "sh", args: ["-c", "echo '{\"status\": \(status)}'"]))
    )
  }

  @Test func aPluginMayGiveACertificate() throws {
    let source = plugin(#"{"clientCertificateData": "chain", "clientKeyData": "key"}"#)
    #expect(try source.token() == nil)
    #expect(try source.certificate() == ClientCertificate(chain: Array("chain".utf8), key: Array("key".utf8)))
    let both = plugin(#"{"token": "t", "clientCertificateData": "chain", "clientKeyData": "key"}"#)
    #expect(try both.token() == "t" && both.certificate() != nil)
  }

  @Test(arguments: [
    "{}", #"{"token": ""}"#, #"{"clientKeyData": "key"}"#, #"{"token": "t", "clientCertificateData": "c"}"#,
  ])
  func aPluginThatGivesNothingWholeIsRefused(_ status: String) {
    #expect(throws: KubernetesError.self) { try plugin(status).token() }
  }

  @Test func aTokenFileIsReadAgainWhenItChanges() throws {
    let folder = try folder(["token": "first"])
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let tokens = TokenSource(.tokenFile("\(folder)/token"))
    #expect(try tokens.token() == "first")
    try "second".write(toFile: "\(folder)/token", atomically: true, encoding: .utf8)
    #expect(try tokens.token() == "second")
    // What was read last holds while the file is away.
    try FileManager.default.removeItem(atPath: "\(folder)/token")
    #expect(try tokens.token() == "second")
    #expect(throws: KubernetesError.self) { try TokenSource(.tokenFile("\(folder)/token")).token() }
  }

  /// As the kubelet replaces it: the file is a link through a link, and only the latter changes.
  @Test func aTokenOfAProjectedVolumeIsReadAgain() throws {
    let folder = try folder([:])
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let files = FileManager.default
    for (name, token) in [("..1", "first"), ("..2", "second")] {
      try files.createDirectory(atPath: "\(folder)/\(name)", withIntermediateDirectories: false)
      try token.write(toFile: "\(folder)/\(name)/token", atomically: true, encoding: .utf8)
    }
    try files.createSymbolicLink(atPath: "\(folder)/..data", withDestinationPath: "..1")
    try files.createSymbolicLink(atPath: "\(folder)/token", withDestinationPath: "..data/token")
    let tokens = TokenSource(.tokenFile("\(folder)/token"))
    #expect(try tokens.token() == "first")
    try files.createSymbolicLink(atPath: "\(folder)/..new", withDestinationPath: "..2")
    #expect(rename("\(folder)/..new", "\(folder)/..data") == 0)
    #expect(try tokens.token() == "second")
  }

  @Test func aServerByAnotherNameThanItsCertificates() throws {
    var server = try APIServer(url: "https://10.0.0.1:6443/prefix")
    #expect(KubernetesClient.base(server) == ("https://10.0.0.1:6443/prefix", [:]))
    server.serverName = "api.example"
    #expect(KubernetesClient.base(server) == ("https://api.example:6443/prefix", ["api.example": "10.0.0.1"]))
    var v6 = try APIServer(url: "https://[fd00::1]:6443")
    v6.serverName = "api.example"
    #expect(KubernetesClient.base(v6) == ("https://api.example:6443", ["api.example": "fd00::1"]))
  }

  @Test func aPodFindsItsServer() throws {
    let folder = try folder(["ca.crt": "the CA", "token": "t", "namespace": "weft-system\n"])
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let environment = ["KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"]
    let server = try APIServer.inCluster(environment: environment, account: folder)
    #expect(server.url == "https://[fd00::1]:443" && server.namespace == "weft-system")
    #expect(server.authorities == Array("the CA".utf8))
    #expect(throws: KubeconfigError.self) { try APIServer.inCluster(environment: [:], account: folder) }
    #expect(throws: KubeconfigError.self) { try APIServer.inCluster(environment: environment, account: "/nowhere") }
  }
}
