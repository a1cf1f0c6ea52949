import DiscoveryAPI
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Identity
import MeshModel
import Testing

@testable import Discovery

/// Everybody who must not be let in.
@Suite(.timeLimit(.minutes(2))) struct RefusalTests {
  private func error<Value>(_ body: () async throws(DiscoveryError) -> Value) async -> DiscoveryError? {
    do throws(DiscoveryError) {
      _ = try await body()
      return nil
    } catch {
      return error
    }
  }

  @Test func tokens() async throws {
    let mesh = try MeshFixture()
    try await mesh.serving { ports, _ in
      let endpoint = ControlEndpoint(host: "127.0.0.1", port: ports.join)
      for (node, token) in [
        ("node-a", "fedcba9876543210"), ("node-b", MeshFixture.token), ("node-a", ""), ("node-c", "x"),
      ] {
        let refused = await error { () async throws(DiscoveryError) in
          try await DiscoveryClient.join(node: node, at: endpoint, token: token, trustBundle: mesh.bundle)
        }
        #expect(refused?.kind == .refused && refused?.description.contains("join token") == true)
      }
      mesh.tokens.use(try JoinTokens(text: "node-b fedcba9876543210"))
      let joined = try await DiscoveryClient.join(
        node: "node-b", at: endpoint, token: "fedcba9876543210", trustBundle: mesh.bundle)
      #expect(joined.credentials.subject == mesh.node("node-b"))
    }
  }

  @Test func identitiesThatAreNotScheduledOnTheNode() async throws {
    let mesh = try MeshFixture()
    let reviews = SPIFFEID("spiffe://cluster.local/ns/shop/sa/reviews")!
    mesh.scheduled.value = [reviews: "node-b"]
    try await mesh.serving { ports, _ in
      let client = try mesh.client(port: ports.discovery)
      for subject in [
        CertificateSubject.workload(reviews), mesh.node("node-b"), .control(.clusterLocal),
        CertificateSubject("spiffe://elsewhere/ns/shop/sa/reviews")!,
      ] {
        let refused = await error { () async throws(DiscoveryError) in try await client.sign(subject) }
        #expect(refused?.kind == .refused)
        #expect(refused?.description.contains("is scheduled on node node-a") == true)
      }
    }
  }

  @Test func aServerOfAnotherCA() async throws {
    let mesh = try MeshFixture()
    let other = try MeshFixture()
    try await mesh.serving { ports, _ in
      let client = try mesh.client(
        port: ports.discovery, credentials: other.authority.issue(for: other.node("node-a")), bundle: other.bundle)
      let refused = await error { () async throws(DiscoveryError) in try await client.sign(other.node("node-a")) }
      #expect(refused?.kind == .refused && refused?.description.contains("not issued by this mesh's CA") == true)
      let unjoined = await error { () async throws(DiscoveryError) in
        try await DiscoveryClient.join(
          node: "node-a", at: ControlEndpoint(host: "127.0.0.1", port: ports.join), token: MeshFixture.token,
          trustBundle: other.bundle)
      }
      #expect(unjoined?.kind == .refused)
    }
  }

  @Test func clientsOfAnotherCAExpiredOrNoNodes() async throws {
    let mesh = try MeshFixture()
    mesh.apply([try resource("secret")])
    let other = try MeshFixture()
    let past = Date().addingTimeInterval(-120)
    let reviews = CertificateSubject("spiffe://cluster.local/ns/shop/sa/reviews")!
    let bad: [(String, HeldIdentity)] = [
      ("another CA", try other.authority.issue(for: other.node("node-a"))),
      ("expired", try mesh.authority.issue(for: mesh.node("node-a"), lifetime: 60, now: past)),
      ("a workload", try mesh.authority.issue(for: reviews)),
      ("the control plane", try mesh.authority.issueServerCertificate(names: [])),
    ]
    try await mesh.serving { ports, _ in
      for (what, credentials) in bad {
        let client = try mesh.client(port: ports.discovery, credentials: credentials)
        let seen = Guarded<String?>(nil)
        try await running(client) {
          try await eventually("a refusal of \(what)") {
            if let error = client.status.lastError { seen.value = error }
            return seen.value != nil
          }
        }
        #expect(client.state.isEmpty, "\(what): \(seen.value ?? "")")
        // A pod may subscribe by itself, but not as a node.
        if what == "a workload" { #expect(seen.value?.contains("the certificate does not") == true) }
        let refused = await error { () async throws(DiscoveryError) in try await client.sign(mesh.node("node-a")) }
        #expect(refused != nil, "\(what)")
      }
      #expect(mesh.cache.nodes.isEmpty)
    }
  }

  @Test func aClientWithoutACertificate() async throws {
    let mesh = try MeshFixture()
    mesh.apply([try resource("secret")])
    try await mesh.serving { ports, _ in
      let transport = try ControlTransport.make(
        ControlEndpoint(host: "127.0.0.1", port: ports.discovery), credentials: nil, bundle: mesh.bundle,
        refused: { _ in })
      await #expect(throws: (any Error).self) {
        try await withGRPCClient(transport: transport) { client in
          try await Weft_Identity_V1_CertificateAuthority.Client(wrapping: client)
            .sign(.init(), options: ControlTransport.options(timeout: .seconds(5)))
        }
      }
    }
  }

  @Test func aStreamThatNamesAnotherNode() async throws {
    let mesh = try MeshFixture()
    mesh.apply([try resource("secret")])
    try await mesh.serving { ports, _ in
      // The certificate is node-a's.
      let client = try mesh.client(port: ports.discovery, as: "node-b")
      let seen = Guarded<String?>(nil)
      try await running(client) {
        try await eventually("a refusal") {
          if let error = client.status.lastError { seen.value = error }
          return seen.value != nil
        }
      }
      #expect(seen.value?.contains("names node node-b") == true)
      #expect(client.state.isEmpty)
      #expect(mesh.cache.nodes.allSatisfy { $0.node == "node-a" })
    }
  }

  @Test func garbageInsteadOfAHandshake() async throws {
    let mesh = try MeshFixture()
    mesh.apply([try resource("a")])
    // The start of a TLS ClientHello that never goes on, plain HTTP/2, and noise.
    let halfHello: [UInt8] = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]
    let noise = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    try await mesh.serving { ports, _ in
      for port in [ports.discovery, ports.join] {
        for bytes in [halfHello, Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8), noise, []] {
          try CuttingRelay.throwAway(bytes, to: port)
        }
      }
      let client = try mesh.client(port: ports.discovery)
      try await running(client) {
        try await eventually("the state") { client.state.count(workloadType) == 1 }
      }
      _ = try await DiscoveryClient.join(
        node: "node-a", at: ControlEndpoint(host: "127.0.0.1", port: ports.join), token: MeshFixture.token,
        trustBundle: mesh.bundle)
    }
  }

  @Test func connectionsAboveTheLimit() async throws {
    let mesh = try MeshFixture()
    mesh.apply([try resource("a")])
    try await mesh.serving(maximumConnections: 3) { ports, _ in
      // Connections are counted by several event loops: until one is refused, all places needn't be taken.
      var idle: [Int32] = []
      while true {
        let descriptor = try CuttingRelay.dial(ports.discovery)
        idle.append(descriptor)
        try #require(idle.count <= 20)
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        if idle.count > 3, poll(&entry, 1, 200) == 1 { break }
      }
      let places = idle
      let client = try mesh.client(port: ports.discovery)
      try await running(client) {
        try await eventually("an error") { client.status.lastError != nil }
        for _ in 0..<50 { try CuttingRelay.throwAway([], to: ports.discovery) }
        #expect(client.state.isEmpty)
        for descriptor in places { close(descriptor) }
        try await eventually("the state") { client.state.count(workloadType) == 1 }
      }
    }
  }

  @Test func aPortInUseIsASentence() async throws {
    let mesh = try MeshFixture()
    try await mesh.serving { ports, _ in
      let error = await #expect(throws: DiscoveryError.self) {
        try await mesh.serving(ports: ports) { _, _ in }
      }
      #expect(
        error?.description.contains("port \(ports.discovery)") == true
          || error?.description.contains("port \(ports.join)") == true)
    }
  }

  @Test(arguments: [
    ("10.0.0.1:15010", "10.0.0.1", 15010), ("[fd00::1]:15012", "fd00::1", 15012), ("control.weft:1", "control.weft", 1),
  ])
  func endpoints(text: String, host: String, port: Int) throws {
    let endpoint = try #require(ControlEndpoint(text))
    #expect(endpoint.host == host && endpoint.port == port && endpoint.description == text)
  }

  @Test(arguments: ["", "host", "host:", ":1", "host:0", "host:65536", "fd00::1:15010", "a b:1"])
  func noEndpoints(text: String) {
    #expect(ControlEndpoint(text) == nil)
  }
}
