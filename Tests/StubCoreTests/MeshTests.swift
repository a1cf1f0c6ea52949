import MeshModel
import Testing

@testable import StubCore

struct MeshTests {
  let pod = StubPod(
    workload: "shop/own", addresses: [IPAddress("10.0.0.9")!], hostAddresses: [IPAddress("192.168.0.1")!])

  private func route(_ table: MeshTable, _ to: String) -> OutboundDecision {
    table.route(to: SocketAddress(to)!, own: "shop/own")
  }

  @Test func servicesGoToTheirReadyEndpoints() throws {
    let table = try table([
      workload("a", "10.0.0.1"), workload("b", "10.0.0.2", meshed: false), workload("c", "10.0.0.3", ready: false),
      workload("d", "10.0.0.4", draining: true), workload("e", "10.0.0.5", weight: 0), workload("own", "10.0.0.9"),
      workload("other", "10.0.0.7", service: "shop/other"),
    ])
    guard case .service("shop/web", let targets) = route(table, "10.96.0.1:80") else {
      Issue.record("not a Service")
      return
    }
    let ways = Dictionary(uniqueKeysWithValues: targets.map { ($0.address.description, $0.transport) })
    #expect(
      ways == [
        "10.0.0.1:8080": .tunnel("spiffe://cluster.local/ns/shop/sa/web"), "10.0.0.2:8080": .plaintext,
        "10.0.0.9:8080": .plaintext,
      ])
    #expect(route(table, "10.96.0.1:53") == .refused("the Service shop/web has no TCP port 53"))
  }

  @Test func addressesGoToTheirWorkloadOrOutOfTheMesh() throws {
    let table = try table([workload("a", "10.0.0.1"), workload("b", "10.0.0.2", meshed: false)])
    func transport(_ to: String) -> StubTarget.Transport? {
      if case .direct(let target) = route(table, to) { target.transport } else { nil }
    }
    #expect(transport("10.0.0.1:5432") == .tunnel("spiffe://cluster.local/ns/shop/sa/web"))
    #expect(transport("10.0.0.1:15008") == .plaintext)
    #expect(transport("10.0.0.2:5432") == .plaintext)
    #expect(transport("93.184.216.34:443") == .plaintext)
    #expect(transport("10.0.0.1:15006") == nil)
  }

  @Test func anAddressThatMovesBelongsToTheOneThatIsReady() throws {
    var table = try table([workload("old", "10.0.0.1", ready: false), workload("new", "10.0.0.1", account: "fresh")])
    #expect(table.workload(at: IPAddress("10.0.0.1")!)?.id == "shop/new")
    table.remove(workload: "shop/new")
    #expect(table.workload(at: IPAddress("10.0.0.1")!)?.id == "shop/old")
    #expect(!table.knows(identityPath: "ns/shop/sa/fresh") && table.knows(identityPath: "ns/shop/sa/web"))
    table.remove(workload: "shop/old")
    #expect(table.workload(at: IPAddress("10.0.0.1")!) == nil && table.endpoints(of: "shop/web").isEmpty)
  }

  @Test func ofTwoTheOneWithLessToDoForItsWeight() {
    var loads = EndpointLoads()
    var random = CountingGenerator()
    let targets = (1...4).map {
      StubTarget(address: SocketAddress("10.0.0.\($0):80")!, workload: "", transport: .plaintext)
    }
    for _ in 0..<400 { loads.started(loads.choose(targets, excluding: [], using: &random)!.address) }
    let counts = targets.map { loads.count($0.address) }
    #expect(counts.reduce(0, +) == 400 && counts.allSatisfy { 97...103 ~= $0 }, "\(counts)")
    let left = loads.choose(targets, excluding: targets.dropLast().map(\.address), using: &random)
    #expect(left == targets.last)
    #expect(loads.choose(targets, excluding: targets.map(\.address), using: &random) == nil)
    for target in targets { for _ in 0..<counts[0] + 9 { loads.ended(target.address) } }
    #expect(targets.allSatisfy { loads.count($0.address) == 0 })
    let weighted = [
      targets[0], StubTarget(address: targets[1].address, workload: "", transport: .plaintext, weight: 3),
    ]
    for _ in 0..<400 { loads.started(loads.choose(weighted, excluding: [], using: &random)!.address) }
    #expect(295...305 ~= loads.count(targets[1].address))
  }

  @Test func tunnelsShowTheIdentityOfTheirAddress() throws {
    let table = try table([workload("a", "10.0.0.1"), workload("b", "10.0.0.2", account: "db")])
    func judge(_ uri: String, _ address: String) -> Verdict { table.judge(peerURI: uri, at: IPAddress(address)!) }
    #expect(judge("spiffe://cluster.local/ns/shop/sa/web", "10.0.0.1") == .allowed)
    #expect(judge("spiffe://cluster.local/ns/shop/sa/web", "10.0.0.2") != .allowed)
    #expect(judge("spiffe://cluster.local/ns/shop/sa/web", "10.9.9.9") == .allowed)
    #expect(judge("spiffe://cluster.local/ns/shop/sa/nobody", "10.9.9.9") != .allowed)
    for uri in ["", "spiffe://cluster.local/node/a", "spiffe://other/ns/shop/sa/web", "https://example.com"] {
      #expect(judge(uri, "10.0.0.1") != .allowed, "\(uri)")
    }
  }

  /// Refuses one client, by its identity or, in plaintext, by its address.
  private struct Refusing: ConnectionAuthorizer {
    let client: String

    func judge(_ question: AuthorizationQuestion) -> Verdict {
      (question.clientIdentity ?? "\(question.clientAddress)") == client ? .refused("a policy says so") : .allowed
    }
  }

  @Test func aPolicyRefusesBeforeAByteMoves() throws {
    let (good, bad) = ("spiffe://cluster.local/ns/shop/sa/good", "spiffe://cluster.local/ns/shop/sa/bad")
    let client = IPAddress("10.0.0.1")!
    let judge = InboundJudge(pod: pod, authorizer: Refusing(client: bad))
    let target = SocketAddress("10.0.0.9:8080")!
    #expect(judge.connect("10.0.0.9:8080", from: client, identity: good) == .deliver(to: target))
    #expect(judge.connect("10.0.0.9:8080", from: client, identity: bad) == .refused(status: 403, "a policy says so"))
    let open = try table([workload("own", "10.0.0.9")], strict: false)
    #expect(judge.plaintext(from: client, to: target, by: open) == .deliver(to: target))
    let other = InboundJudge(pod: pod, authorizer: Refusing(client: "10.0.0.1"))
    #expect(other.plaintext(from: client, to: target, by: open) == .refused(status: 403, "a policy says so"))
    // What the mesh refuses no policy is asked of.
    let elsewhere = judge.connect("10.0.0.8:8080", from: client, identity: good)
    #expect(elsewhere == .refused(status: 403, "CONNECT to 10.0.0.8:8080, which is not this pod"))
  }

  @Test func plaintextUnderEachModeAndBeforeAnyIsKnown() throws {
    func judge(_ strict: Bool?, _ client: String, _ target: String) throws -> Verdict {
      try table([workload("own", "10.0.0.9", probe: 8081)], strict: strict)
        .judgePlaintext(from: IPAddress(client)!, to: SocketAddress(target)!, of: pod)
    }
    #expect(try judge(false, "10.5.5.5", "10.0.0.9:8080") == .allowed)
    #expect(try judge(true, "10.5.5.5", "10.0.0.9:8080") != .allowed)
    #expect(try judge(nil, "10.5.5.5", "10.0.0.9:8080") != .allowed)
    #expect(try judge(true, "192.168.0.1", "10.0.0.9:8081") == .allowed)
    #expect(try judge(true, "192.168.0.1", "10.0.0.9:8080") != .allowed)
    #expect(try judge(true, "10.5.5.5", "10.0.0.9:8081") != .allowed)
    for own in ["10.0.0.9:15001", "10.0.0.9:15006", "10.0.0.9:15008", "10.0.0.8:8080"] {
      #expect(try judge(false, "10.5.5.5", own) != .allowed, "\(own)")
    }
  }

  @Test func connectsNameThisPod() {
    #expect(MeshTable.deliveryTarget(authority: "10.0.0.9:8080", of: pod) == SocketAddress("10.0.0.9:8080"))
    for authority in ["10.0.0.8:8080", "10.0.0.9:15006", "10.0.0.9:0", "web:80", "", "10.0.0.9", "127.0.0.1:8080"] {
      #expect(MeshTable.deliveryTarget(authority: authority, of: pod) == nil, "\(authority)")
    }
  }
}
