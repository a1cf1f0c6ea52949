import DiscoveryAPI
import Glibc
import MeshModel
import SwiftProtobuf
import Testing

@testable import ProxyRuntime

/// With that address, however wrong.
func meshWorkload(_ name: String, address: [UInt8]) -> Weft_Mesh_V1_Workload {
  var workload = Weft_Mesh_V1_Workload(Workload.at("shop/\(name)", "10.0.0.1"))
  workload.addresses = [.init(address)]
  return workload
}

extension RuntimeTests {
  /// The mesh and the identities that an agent gives its proxy, and how these are answered.
  @Suite(.enabled(if: geteuid() == 0, "the proxy takes commands from root alone")) struct ControlUpdateTests {
    private let proxy: TestProxy

    init() throws { proxy = try TestProxy() }

    @Test func updatesAreAnsweredByVersion() throws {
      defer { proxy.stop() }
      let agent = try TestAgent(proxy.path)
      _ = try agent.hello()
      func apply(_ version: UInt64, _ fill: (inout Weft_Proxy_V1_MeshUpdate) -> Void) throws -> Weft_Proxy_V1_MeshAck {
        var update = Weft_Proxy_V1_MeshUpdate()
        update.version = version
        update.node = "one"
        fill(&update)
        try agent.send { $0.mesh = update }
        return try agent.receive { if case .meshAck(let ack) = $0.body { ack } else { nil } }
      }
      let first = try apply(1) {
        $0.complete = true
        $0.workloads = [meshWorkload("a", address: [10, 0, 0, 1]), meshWorkload("b", address: [10, 0, 0, 2])]
      }
      #expect(first.version == 1 && first.error.isEmpty)
      // One bad workload: nothing of the update holds.
      let second = try apply(2) {
        $0.workloads = [meshWorkload("c", address: [10, 0, 0, 3]), meshWorkload("d", address: [1, 2, 3])]
        $0.removedWorkloads = ["shop/a"]
      }
      #expect(second.version == 2)
      #expect(second.error.contains("shop/d") && second.error.contains("addresses"))
      #expect(try agent.query("statistics").contains("\"workloads\":2"))
      let third = try apply(3) { $0.removedWorkloads = ["shop/a", "shop/nobody"] }
      #expect(third.error.isEmpty)
      #expect(try agent.query("statistics").contains("\"workloads\":1"))
      let fourth = try apply(4) { $0.config = .with { $0.trustDomain = "Not A Domain" } }
      #expect(!fourth.error.isEmpty)
    }

    /// Workers never see a part of it: to a pod that isn't in the mesh yet they'd connect in plaintext.
    @Test func aChangeInPartsIsMadeAsOne() throws {
      var state = ProxyState()
      func part(_ names: [String], complete: Bool = false, more: Bool) throws -> Bool {
        try state.apply(
          .with {
            $0.complete = complete
            $0.more = more
            $0.workloads = names.enumerated().map { meshWorkload($1, address: [10, 0, 0, UInt8($0 + 1)]) }
          })
      }
      let bad = Weft_Proxy_V1_MeshUpdate.with {
        $0.more = true
        $0.workloads = [meshWorkload("x", address: [1, 2, 3])]
      }
      #expect(try part(["a", "b"], more: false))
      #expect(try !part(["c"], complete: true, more: true))
      #expect(try !part(["d"], more: true))
      #expect(state.snapshot.workloadCount == 2 && state.snapshot.workload(id: "shop/a") != nil)
      #expect(try part(["e"], more: false))
      #expect(state.snapshot.workloadCount == 3 && state.snapshot.workload(id: "shop/a") == nil)
      // One part that can't be used: none of them counts, and the next change begins anew.
      #expect(try !part(["f"], complete: true, more: true))
      #expect(throws: InvalidResource.self) { try state.apply(bad) }
      #expect(throws: InvalidResource.self) { try part(["g"], more: true) }
      #expect(throws: InvalidResource.self) { try part(["h"], more: false) }
      #expect(state.snapshot.workloadCount == 3)
      #expect(try part(["i"], more: false))
      #expect(state.snapshot.workloadCount == 4)
      // An agent that went in the middle of it.
      #expect(try !part(["j"], complete: true, more: true))
      state.forgetParts()
      #expect(try part(["k"], more: false))
      #expect(state.snapshot.workloadCount == 5 && state.snapshot.workload(id: "shop/j") == nil)
    }

    @Test func identitiesNeedTheirBundleInEitherOrder() throws {
      defer { proxy.stop() }
      let mesh = try TestAuthority.mesh.get()
      let agent = try TestAgent(proxy.path)
      _ = try agent.hello()
      func give(_ name: String, key: [UInt8]? = nil, chain: [[UInt8]]? = nil) throws {
        let held = try mesh.held(name)
        try agent.send {
          $0.identity.spiffeID = SPIFFEID.of(name).description
          $0.identity.chain = (chain ?? held.certificate.chain).map { .init($0) }
          $0.identity.privateKey = .init(key ?? held.key.pkcs8DER)
        }
      }
      try give("a")
      #expect(try agent.query("dump").contains("\"identities\":[]"))
      try agent.send { $0.trustBundle.roots = mesh.roots.map { .init($0) } }
      #expect(try agent.query("dump").contains("\"identities\":[\"\(SPIFFEID.of("a"))\"]"))
      try give("b")
      // What can't be used is refused, and what was there stays.
      try give("c", key: [1, 2, 3])
      try give("d", chain: [[0, 1, 2]])
      try give("e", chain: [])
      try give("a", key: mesh.held("b").key.pkcs8DER)
      try agent.send { $0.identity.spiffeID = "spiffe://cluster.local/node/one" }
      let both = "\"identities\":[\"\(SPIFFEID.of("a"))\",\"\(SPIFFEID.of("b"))\"]"
      #expect(try agent.query("dump").contains(both))
      // So is a bundle that is none: what is given afterwards works with the one before.
      for roots in [[], [[1, 2, 3]]] as [[[UInt8]]] {
        try agent.send { $0.trustBundle.roots = roots.map { .init($0) } }
      }
      try give("f")
      #expect(try agent.query("dump").contains("\"\(SPIFFEID.of("f"))\""))
    }

    @Test func oneBrokenIdentityKeepsNoOtherFromTheBundle() throws {
      let mesh = try TestAuthority.mesh.get()
      var state = ProxyState()
      func identity(_ name: String, _ key: [UInt8]? = nil) throws -> Weft_Proxy_V1_Identity {
        let held = try mesh.held(name)
        return .with {
          $0.spiffeID = SPIFFEID.of(name).description
          $0.chain = held.certificate.chain.map { .init($0) }
          $0.privateKey = .init(key ?? held.key.pkcs8DER)
        }
      }
      // Before there is a bundle nothing can be checked.
      #expect(try state.set(identity("a")) == nil)
      #expect(try state.set(identity("b", [1])) == nil)
      #expect(try state.set(identity("c")) == nil)
      let (made, failures) = state.set(.with { $0.roots = mesh.roots.map { .init($0) } })
      #expect(Set(made.map(\.id)) == [.of("a"), .of("c")])
      #expect(failures.count == 1)
      // A broken successor leaves the good one in place.
      #expect(throws: TLSFailure.self) { _ = try state.set(identity("a", [1])) }
      #expect(state.set(.with { $0.roots = mesh.roots.map { .init($0) } }).made.count == 2)
    }
  }
}
