import Discovery
import DiscoveryAPI
import Foundation
import Identity
import Logging
import MeshModel
import Testing

@testable import ControlPlane

/// A control plane on free loopback ports over a folder of its own.
private struct Running {
  let temporary: TemporaryFolder
  let control: ControlPlane
  let ports: (discovery: Int, join: Int)
  let task: Task<Void, any Error>

  static let token = "0123456789abcdef-n1"

  static func configuration(_ temporary: TemporaryFolder) throws -> ControlPlane.Configuration {
    try temporary.write("tokens", "n1 \(token)\n")
    chmod("\(temporary.path)/tokens", 0o600)
    var configuration = ControlPlane.Configuration(
      folder: "\(temporary.path)/config", stateDirectory: "\(temporary.path)/state",
      joinTokensFile: "\(temporary.path)/tokens")
    configuration.server.host = "127.0.0.1"
    configuration.server.discoveryPort = 0
    configuration.server.joinPort = 0
    configuration.server.certificateLifetime = 600
    configuration.server.shutdownGrace = 0.1
    configuration.timing = .init(debounce: 10, maximum: 100, rescan: 60_000)
    return configuration
  }

  init() async throws {
    temporary = try TemporaryFolder()
    try temporary.write("config/shop.yaml", Sample.pod("cart") + "---\n" + Sample.service("cart"))
    let control = try ControlPlane(
      Self.configuration(temporary), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    self.control = control
    task = Task { try await control.run() }
    ports = try await control.boundPorts()
  }

  func stop() async throws {
    control.shutdown()
    try await task.value
  }

  func join() async throws -> DiscoveryClient {
    let bundle = try TrustBundle(pem: control.rootPEM)
    let joined = try await DiscoveryClient.join(
      node: "n1", at: ControlEndpoint(host: "127.0.0.1", port: ports.join), token: Self.token, trustBundle: bundle)
    var configuration = DiscoveryClient.Configuration(
      node: "n1", control: ControlEndpoint(host: "127.0.0.1", port: ports.discovery))
    configuration.retries = 0.05...0.1
    return DiscoveryClient(
      configuration: configuration, credentials: joined.credentials, trustBundle: joined.trustBundle)
  }

  var status: StatusReport? {
    guard let data = FileManager.default.contents(atPath: "\(temporary.path)/state/status.json") else { return nil }
    return try? JSONDecoder().decode(StatusReport.self, from: data)
  }
}

/// Waits for what other tasks bring about; false after ten seconds.
private func eventually(_ condition: () -> Bool) async -> Bool {
  for _ in 0..<1000 {
    if condition() { return true }
    try? await Task.sleep(for: .milliseconds(10))
  }
  return condition()
}

@Suite struct ControlPlaneTests {
  private func workload(_ client: DiscoveryClient, _ name: String) -> Workload? {
    client.state.resources(Weft_Mesh_V1_Workload.typeURL).first { $0.name == name }
      .flatMap { try? Weft_Mesh_V1_Workload(serializedBytes: $0.value) }.flatMap { try? Workload($0) }
  }

  private func service(_ client: DiscoveryClient, _ name: String) -> Service? {
    client.state.resources(Weft_Mesh_V1_Service.typeURL).first { $0.name == name }
      .flatMap { try? Weft_Mesh_V1_Service(serializedBytes: $0.value) }.flatMap { try? Service($0) }
  }

  private func config(_ client: DiscoveryClient) -> MeshConfig? {
    client.state.resources(Weft_Mesh_V1_MeshConfig.typeURL).first
      .flatMap { try? Weft_Mesh_V1_MeshConfig(serializedBytes: $0.value) }.flatMap { try? MeshConfig($0) }
  }

  /// The folder's files reach a node, changes follow, a bad file changes nothing, and the status says all of it.
  @Test(.timeLimit(.minutes(1))) func filesReachANode() async throws {
    let running = try await Running()
    let client = try await running.join()
    let stream = Task { await client.run { _ in [] } }
    defer { stream.cancel() }
    #expect(await eventually { workload(client, "shop/cart") != nil && service(client, "shop/cart") != nil })
    #expect(workload(client, "shop/cart")?.isMeshed == true)
    #expect(workload(client, "shop/cart")?.memberships.map(\.service.description) == ["shop/cart"])
    #expect(service(client, "shop/cart")?.addresses == [IPAddress("10.96.0.1")!])
    #expect(config(client) == MeshConfig())
    #expect(await eventually { running.status?.nodes.map(\.connected) == [true] })

    try running.temporary.replace(
      "config/shop.yaml", Sample.pod("cart", address: "10.0.0.9") + "---\n" + Sample.service("cart"))
    #expect(await eventually { workload(client, "shop/cart")?.addresses == [IPAddress("10.0.0.9")!] })

    try running.temporary.replace("config/shop.yaml", Sample.pod("cart", address: "oops"))
    #expect(await eventually { running.status?.objects.first?.accepted == false })
    let refused = try #require(running.status?.objects.first)
    #expect((refused.kind, refused.namespace, refused.name) == ("Pod", "shop", "cart"))
    #expect((refused.file, refused.line) == ("shop.yaml", 1))
    #expect(refused.reason.hasPrefix("shop.yaml:5:17: Pod shop/cart: status.podIP: \"oops\" is not an IP address"))
    #expect(running.status?.totals == .init(accepted: 0, refused: 1))
    try running.temporary.replace(
      "config/mode.yaml",
      """
      apiVersion: weft.dev/v1alpha1
      kind: PeerAuthentication
      metadata: {name: default, namespace: weft-system}
      spec: {mtls: {mode: STRICT}}
      """)
    #expect(await eventually { config(client)?.mutualTLS == .strict })
    #expect(workload(client, "shop/cart")?.addresses == [IPAddress("10.0.0.9")!])
    #expect(service(client, "shop/cart") != nil)

    try running.temporary.remove("config/shop.yaml")
    #expect(await eventually { workload(client, "shop/cart") == nil && service(client, "shop/cart") == nil })
    try await running.stop()
    #expect(running.status?.objects.map(\.kind) == ["PeerAuthentication"])
  }

  /// A route and a policy reach a node with a meshed pod, and their conditions stand in the status.
  @Test(.timeLimit(.minutes(1))) func routesAndPoliciesReachANode() async throws {
    let running = try await Running()
    let client = try await running.join()
    let stream = Task { await client.run { _ in [] } }
    defer { stream.cancel() }
    try running.temporary.replace(
      "config/traffic.yaml",
      """
      apiVersion: gateway.networking.k8s.io/v1
      kind: HTTPRoute
      metadata: {name: r, namespace: shop}
      spec:
        parentRefs: [{group: "", kind: Service, name: cart, port: 80}]
        rules: [{backendRefs: [{name: cart, port: 80}, {name: none, port: 80, weight: 0}]}]
      ---
      apiVersion: weft.dev/v1alpha1
      kind: TrafficPolicy
      metadata: {name: p, namespace: shop}
      spec: {targetRefs: [{kind: HTTPRoute, name: r}], timeouts: {request: 1s}}

      """)
    func route() throws -> Route? {
      try client.state.resources(Weft_Mesh_V1_Route.typeURL).first { $0.name == "HTTPRoute/shop/r" }
        .map { try Route(Weft_Mesh_V1_Route(serializedBytes: $0.value)) }
    }
    #expect(await eventually { client.state.count(Weft_Mesh_V1_TrafficPolicy.typeURL) == 1 })
    #expect(await eventually { client.state.count(Weft_Mesh_V1_Route.typeURL) == 1 })
    #expect(
      try route()?.rules.first?.backends.map(\.invalid) == ["", "BackendNotFound: there is no Service shop/none"])
    #expect(await eventually { running.status?.objects.contains { $0.kind == "HTTPRoute" } == true })
    let status = try #require(running.status?.objects.first { $0.kind == "HTTPRoute" })
    #expect(status.accepted)
    #expect(status.reason == "Service shop/cart: not ResolvedRefs: BackendNotFound: there is no Service shop/none")
    let parent = try #require(status.parents?.first)
    #expect((parent.kind, parent.namespace, parent.name, parent.port) == ("Service", "shop", "cart", 80))
    #expect(
      parent.conditions.map { "\($0.type) \($0.status) \($0.reason)" } == [
        "Accepted True Accepted", "ResolvedRefs False BackendNotFound",
      ])
    let policy = try #require(running.status?.objects.first { $0.kind == "TrafficPolicy" })
    #expect(policy.parents?.map(\.kind) == ["HTTPRoute"] && policy.reason.isEmpty)

    try running.temporary.remove("config/traffic.yaml")
    #expect(await eventually { client.state.count(Weft_Mesh_V1_Route.typeURL) == 0 })
    #expect(await eventually { client.state.count(Weft_Mesh_V1_TrafficPolicy.typeURL) == 0 })
    try await running.stop()
  }

  @Test(.timeLimit(.minutes(1))) func onlyIdentitiesOfTheNodesOwnPodsAreSigned() async throws {
    let running = try await Running()
    let client = try await running.join()
    let own = CertificateSubject("spiffe://cluster.local/ns/shop/sa/default")!
    #expect(try await client.sign(own).certificate.subject == own)
    let other = CertificateSubject("spiffe://cluster.local/ns/shop/sa/other")!
    await #expect(throws: DiscoveryError.self) { try await client.sign(other) }
    // The pod moves to another node.
    try running.temporary.replace("config/shop.yaml", Sample.pod("cart", node: "n2"))
    #expect(await eventually { running.status?.objects.count == 1 })
    await #expect(throws: DiscoveryError.self) { try await client.sign(own) }
    try await running.stop()
  }

  @Test(.timeLimit(.minutes(1))) func whatANodeRefusesIsInTheStatus() async throws {
    let running = try await Running()
    let client = try await running.join()
    let stream = Task {
      await client.run { update in
        update.resources.filter { $0.name == "shop/cart" && update.typeURL == Weft_Mesh_V1_Workload.typeURL }
          .map { RejectedResource(typeURL: update.typeURL, name: $0.name, reason: "not today") }
      }
    }
    defer { stream.cancel() }
    #expect(await eventually { running.status?.nodes.first?.nacked.isEmpty == false })
    #expect(
      running.status?.nodes.first?.nacked == [
        .init(type: Weft_Mesh_V1_Workload.typeURL, name: "shop/cart", reason: "not today")
      ])
    try await running.stop()
  }

  @Test(.timeLimit(.minutes(1))) func tokensAreReadAgain() async throws {
    let running = try await Running()
    try running.temporary.replace("tokens", "n1 another-token-for-n1\n")
    chmod("\(running.temporary.path)/tokens", 0o600)
    var refused = false
    for _ in 0..<100 where !refused {
      do { _ = try await running.join() } catch { refused = true }
    }
    #expect(refused)
    try await running.stop()
  }

  /// Roots are rotated by overlapping: the next one is trusted before anything is signed by it.
  @Test(.timeLimit(.minutes(1))) func rootsAreReadAgain() async throws {
    let temporary = try TemporaryFolder()
    let next = try CertificateAuthority(stateDirectory: "\(temporary.path)/next", trustDomain: .clusterLocal)
    let running = try await Running()
    #expect(try await running.join().trustBundle.roots.count == 1)
    try running.temporary.write("state/roots/next.pem", next.rootPEM)
    // What the control plane watches too: the state's folder for roots was not there at its start.
    try running.temporary.replace("config/shop.yaml", Sample.pod("cart"))
    var roots = 0
    for _ in 0..<100 where roots != 2 {
      roots = try await running.join().trustBundle.roots.count
    }
    #expect(roots == 2)
    try await running.stop()
  }

  @Test(.timeLimit(.minutes(1))) func aPortThatIsTaken() async throws {
    let running = try await Running()
    let temporary = try TemporaryFolder()
    try temporary.write("config/a.yaml", "")
    var configuration = try Running.configuration(temporary)
    configuration.server.discoveryPort = running.ports.discovery
    let second = try ControlPlane(configuration, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let error = await #expect(throws: DiscoveryError.self) { try await second.run() }
    #expect(error?.description.contains("can't serve on 127.0.0.1 port \(running.ports.discovery)") == true)
    try await running.stop()
  }

  @Test func whatKeepsItFromStarting() throws {
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    func failure(_ change: (TemporaryFolder, inout ControlPlane.Configuration) throws -> Void) throws -> String {
      let temporary = try TemporaryFolder()
      try temporary.write("config/a.yaml", "")
      var configuration = try Running.configuration(temporary)
      try change(temporary, &configuration)
      do {
        _ = try ControlPlane(configuration, logger: logger)
        return ""
      } catch {
        return "\(error)"
      }
    }
    #expect(
      try failure { $1.folder = "/nowhere" }
        == "the configuration folder /nowhere can't be opened: No such file or directory")
    #expect(
      try failure {
        chmod("\($0.path)/tokens", 0o644)
        _ = $1
      }.contains("can be read by others than its owner"))
    #expect(
      try failure { $1.joinTokensFile = "/nowhere/tokens" }.contains("there is no join token file /nowhere/tokens"))
    #expect(try failure { $1.clusterDomain = "Cluster Local" } == "the cluster domain Cluster Local is not a DNS name")
    #expect(try failure { $1.server.certificateLifetime = 5 }.contains("a certificate lives 1 minute to 90 days"))
    #expect(
      try failure { temporary, configuration in
        _ = try CertificateAuthority(stateDirectory: "\(temporary.path)/state", trustDomain: .clusterLocal)
        chmod("\(temporary.path)/state/ca.key", 0o644)
      }.contains("ca.key can be read by others than its owner"))
    #expect(try failure { _, _ in } == "")
  }
}

@Suite struct IdentityIssueTests {
  @Test func writesAChainAKeyAndTheRoot() throws {
    let temporary = try TemporaryFolder()
    let state = "\(temporary.path)/state"
    let id = "spiffe://cluster.local/ns/shop/sa/cart"
    #expect(throws: ControlPlaneError("there is no CA in \(state); weft-control makes one when it starts")) {
      try IdentityIssue.write(spiffeID: id, stateDirectory: state, to: "\(temporary.path)/out")
    }
    let authority = try CertificateAuthority(stateDirectory: state, trustDomain: .clusterLocal)
    try IdentityIssue.write(spiffeID: id, stateDirectory: state, to: "\(temporary.path)/out", lifetime: 120)
    let files = FileManager.default
    #expect(files.contents(atPath: "\(temporary.path)/out/ca.pem") == Data(authority.rootPEM.utf8))
    #expect(
      files.contents(atPath: "\(temporary.path)/out/tls.pem")?.starts(with: Data("-----BEGIN CERTIFICATE".utf8)) == true
    )
    let mode = try files.attributesOfItem(atPath: "\(temporary.path)/out/key.pem")[.posixPermissions] as? Int
    #expect(mode == 0o600)
    #expect(throws: ControlPlaneError.self) {
      try IdentityIssue.write(spiffeID: "spiffe://cluster.local/x", stateDirectory: state, to: "\(temporary.path)/out")
    }
  }
}
