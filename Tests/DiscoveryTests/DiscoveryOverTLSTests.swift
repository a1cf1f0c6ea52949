import DiscoveryAPI
import Foundation
import Identity
import MeshModel
import Testing

@testable import Discovery

/// Real gRPC over loopback with real certificates.
@Suite(.timeLimit(.minutes(2))) struct DiscoveryOverTLSTests {
  @Test func joinSignStreamNackReconnectResume() async throws {
    let mesh = try MeshFixture()
    mesh.apply([try resource("shop/a"), try resource("shop/b"), try resource("mesh", type: configType)])
    let reviews = SPIFFEID("spiffe://cluster.local/ns/shop/sa/reviews")!
    mesh.scheduled.value = [reviews: "node-a"]
    let updates = Guarded<[DiscoveryUpdate]>([])
    let (client, ports) = try await mesh.serving { ports, server in
      let endpoint = ControlEndpoint(host: "127.0.0.1", port: ports.join)
      let joined = try await DiscoveryClient.join(
        node: "node-a", at: endpoint, token: MeshFixture.token, trustBundle: mesh.bundle)
      #expect(joined.credentials.subject == mesh.node("node-a") && joined.trustBundle == mesh.bundle)

      let client = try mesh.client(port: ports.discovery, credentials: joined.credentials)
      // Without a stream: on a connection of its own.
      let first = try await client.sign(.workload(reviews))
      #expect(first.certificate.spiffeID == reviews.description)
      try await running(client) { update in
        updates.withLock { $0.append(update) }
        return update.resources.filter { $0.name == "shop/b" }.map {
          RejectedResource(typeURL: update.typeURL, name: $0.name, reason: "addresses: 3 bytes")
        }
      } _: {
        try await eventually("the state") {
          client.state.count(workloadType) == 1 && client.state.count(configType) == 1
        }
        try await eventually("the NACK") {
          mesh.lastStatus?.nacked
            == [RejectedResource(typeURL: workloadType, name: "shop/b", reason: "addresses: 3 bytes")]
        }
        #expect(mesh.lastStatus?.node == "node-a" && mesh.lastStatus?.connected == true && client.status.connected)
        // On the stream's connection.
        #expect(try await client.sign(.workload(reviews)).certificate.serial != first.certificate.serial)
        #expect(try await client.sign(mesh.node("node-a")).subject == mesh.node("node-a"))
        mesh.apply([try resource("shop/c")], removing: [ResourceKey(typeURL: workloadType, name: "shop/a")])
        try await eventually("the change") { client.state.versions(workloadType).keys.sorted() == ["shop/c"] }
      }
      return (client, ports)
    }
    #expect(!client.status.connected)
    // The world goes on while nobody is connected; a client that resumes is sent the difference alone.
    mesh.apply([try resource("shop/d"), try resource("shop/b", "good")])
    updates.value = []
    try await mesh.serving(ports: ports) { _, _ in
      let resumed = try mesh.client(port: ports.discovery, resuming: client.state)
      try await running(resumed) { update in
        updates.withLock { $0.append(update) }
        return []
      } _: {
        try await eventually("the resumed state") {
          resumed.state.versions(workloadType).keys.sorted() == ["shop/b", "shop/c", "shop/d"]
        }
        let sent = updates.value.filter { $0.typeURL == workloadType }.flatMap(\.resources).map(\.name).sorted()
        #expect(sent == ["shop/b", "shop/d"])
        try await eventually("no refusals") { mesh.lastStatus?.nacked == [] }
      }
    }
    try await eventually("the status") { mesh.cache.nodes.map(\.connected) == [false] }
  }

  @Test func aRestartOfTheControlPlaneLosesNothing() async throws {
    let mesh = try MeshFixture()
    mesh.apply([try resource("a")])
    let ports = try await mesh.serving { ports, _ in ports }
    let client = try mesh.client(port: ports.discovery)
    try await running(client) {
      try await eventually("an error") { client.status.lastError != nil }
      for round in 0..<3 {
        mesh.apply([try resource("a", "round \(round)"), try resource("r\(round)")])
        try await mesh.serving(ports: ports) { _, _ in
          try await eventually("round \(round)") {
            client.status.connected && client.state.count(workloadType) == 2 + round
              && client.state.resources(workloadType).contains { $0.value == Data("round \(round)".utf8) }
          }
          #expect(client.status.lastError == nil)
        }
        try await eventually("the loss is noticed") { !client.status.connected && client.status.lastError != nil }
      }
    }
  }

  @Test func renewedCredentialsReconnectAndTheOldStreamEnds() async throws {
    let mesh = try MeshFixture()
    mesh.apply([try resource("a")])
    try await mesh.serving { ports, _ in
      let client = try mesh.client(port: ports.discovery)
      try await running(client) {
        try await eventually("the state") { client.state.count(workloadType) == 1 }
        let since = client.status.since
        client.use(try await client.sign(mesh.node("node-a")))
        try await eventually("a new stream") { client.status.connected && client.status.since > since }
        mesh.apply([try resource("b")])
        try await eventually("the change") { client.state.count(workloadType) == 2 }
        #expect(mesh.cache.nodes.count == 1)
      }
    }
  }

  @Test func aStreamEndsWithItsCertificate() async throws {
    let mesh = try MeshFixture()
    mesh.apply([try resource("a")])
    // Fifteen of its sixty seconds are left.
    let ending = try mesh.authority.issue(for: mesh.node("node-a"), lifetime: 60, now: Date().addingTimeInterval(-45))
    try await mesh.serving { ports, _ in
      let client = try mesh.client(port: ports.discovery, credentials: ending)
      try await running(client) {
        try await eventually("the state") { client.status.connected && client.state.count(workloadType) == 1 }
        try await eventually("the end", within: 40) { !client.status.connected }
        mesh.apply([try resource("b")])
        client.use(try mesh.authority.issue(for: mesh.node("node-a")))
        try await eventually("the change") { client.status.connected && client.state.count(workloadType) == 2 }
      }
    }
  }

  @Test func manyResourcesComeInSeveralResponses() async throws {
    let mesh = try MeshFixture()
    mesh.apply(try (0..<20).map { try resource("big-\($0)", bytes: 1024 * 1024) })
    mesh.apply(try (0..<5000).map { try resource("small-\($0)") })
    let responses = Guarded(0)
    try await mesh.serving { ports, _ in
      let client = try mesh.client(port: ports.discovery)
      try await running(client) { update in
        if update.typeURL == workloadType { responses.withLock { $0 += 1 } }
        return []
      } _: {
        try await eventually("everything", within: 60) { client.state.count(workloadType) == 5020 }
        #expect(responses.value >= 6)
      }
    }
  }

  /// The relay closes both sides after so many bytes from the server: in the middle of a message.
  @Test func aStreamCutInTheMiddleLosesNothing() async throws {
    let mesh = try MeshFixture()
    mesh.apply(try (0..<40).map { try resource("r-\($0)", bytes: 200_000) })
    try await mesh.serving { ports, _ in
      let relay = try CuttingRelay(to: ports.discovery, bytes: [3_000_000, 5_200_000, 1000])
      defer { relay.stop() }
      let names = Guarded<[String]>([])
      let client = try mesh.client(port: relay.port)
      try await running(client) { update in
        names.withLock { $0 += update.resources.map(\.name) }
        return []
      } _: {
        try await eventually("everything", within: 60) { client.state.count(workloadType) == 40 }
        #expect(relay.cuts == 3)
        // What was received whole before a cut is not sent again.
        #expect(names.value.count == Set(names.value).count)
      }
    }
  }

  /// A peer whose machine vanished closes nothing: the keepalive of each side must notice.
  @Test func aSilentPeerIsNoticedByBothSides() async throws {
    let mesh = try MeshFixture()
    mesh.apply([try resource("a")])
    try await mesh.serving { ports, _ in
      let relay = try CuttingRelay(to: ports.discovery, bytes: [])
      defer { relay.stop() }
      let client = try mesh.client(port: relay.port)
      try await running(client) {
        try await eventually("the state") { client.state.count(workloadType) == 1 }
        relay.freeze()
        try await eventually("the client notices", within: 20) { !client.status.connected }
        try await eventually("the server notices", within: 20) { mesh.lastStatus?.connected == false }
        #expect(client.state.count(workloadType) == 1)
      }
    }
  }
}
