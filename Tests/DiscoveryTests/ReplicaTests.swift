import DiscoveryAPI
import Glibc
import Testing

@testable import Discovery

@Suite struct ReplicaChoiceTests {
  private let addresses = (1...5).map { "10.0.0.\($0)" }

  @Test func nodesSpreadOverReplicasAndKeepTheirs() {
    var counts: [String: Int] = [:]
    for index in 0..<1000 {
      let order = ReplicaChoice.ordered(addresses, for: "node-\(index)")
      #expect(order == ReplicaChoice.ordered(addresses.reversed() + addresses, for: "node-\(index)"))
      counts[order[0], default: 0] += 1
      // One that goes moves nobody but its own.
      let left = ReplicaChoice.ordered(addresses.filter { $0 != order[4] }, for: "node-\(index)")
      #expect(left == Array(order.dropLast()))
    }
    #expect(counts.count == 5 && counts.values.allSatisfy { (140...260).contains($0) })
  }

  /// The nodes of a replica that dies spread over all the others.
  @Test func theSecondChoicesSpreadToo() {
    let orders = (0..<2000).map { ReplicaChoice.ordered(addresses, for: "node-\($0)") }
    let moved = orders.filter { $0[0] == addresses[0] }.map { $0[1] }
    let counts = Dictionary(moved.map { ($0, 1) }, uniquingKeysWith: +)
    #expect(counts.count == 4 && counts.values.allSatisfy { $0 > moved.count / 8 })
  }

  @Test func eachIsTriedOnceBeforeAPause() {
    var choice = ReplicaChoice(node: "n")
    #expect(choice.next == nil)
    choice.resolved(["a", "b", "c"])
    let order = choice.replicas
    for (index, isAnother) in [true, true, false].enumerated() {
      #expect(choice.next == order[index])
      let outcome = choice.failed(order[index], wasConnected: false, now: 0)
      #expect(outcome == isAnother)
    }
    #expect(choice.next == order[0])
    // One that served a while is tried last.
    let isAnother = choice.failed(order[0], wasConnected: true, now: 1)
    #expect(isAnother)
    #expect(choice.next == order[1])
    // A look-up that fails forgets nothing; one that has others does.
    choice.resolved([])
    #expect(choice.replicas == order)
    choice.resolved(["z"])
    #expect(choice.next == "z")
    let isLeft = choice.failed("z", wasConnected: true, now: 2)
    #expect(!isLeft)
  }

  @Test func aNodeReturnsToItsReplicaButNotToOneThatHasJustFailed() {
    var choice = ReplicaChoice(node: "n")
    choice.resolved(["a", "b"])
    let order = choice.replicas
    #expect(choice.better(than: order[0], now: 0) == nil)
    #expect(choice.better(than: order[1], now: 0) == order[0])
    _ = choice.failed(order[0], wasConnected: true, now: 10)
    #expect(choice.better(than: order[1], now: 11) == nil)
    #expect(choice.better(than: order[1], now: 10 + ReplicaChoice.avoidance) == order[0])
    #expect(choice.better(than: "gone", now: 11) == order[1])
  }
}

@Suite struct ReplicaMoveTests {
  /// The replicas have compiled the same state each by itself: versions are the content's, so a node that moves is sent
  /// nothing that it has.
  @Test(.timeLimit(.minutes(1))) func aNodeMovesToAnotherReplicaAtOnceAndIsSentNothingAgain() async throws {
    let mesh = try MeshFixture()
    let caches = [SnapshotCache(), SnapshotCache()]
    for cache in caches {
      cache.apply(upserts: [try resource("a"), try resource("b")], removals: [], meshedNodes: [])
    }
    // Another history, the same content.
    caches[1].apply(upserts: [try resource("c")], removals: [], meshedNodes: [])
    caches[1].apply(upserts: [], removals: [try resource("c").key], meshedNodes: [])
    let order = ReplicaChoice.ordered(["127.0.0.1", "127.0.0.2"], for: "node-a")
    let received = Guarded<[String]>([])
    try await mesh.serving(host: order[1], cache: caches[1]) { ports, _ in
      // Names none before both serve: the client would stay with the one that was there first.
      let bothServe = Guarded(false)
      let client = try mesh.client(
        port: ports.discovery,
        lookUp: { _ in
          while !bothServe.value { usleep(1000) }
          return order
        })
      try await running(
        client,
        handler: { update in
          received.withLock { $0 += update.resources.map(\.name) + update.removed }
          return []
        }
      ) {
        try await mesh.serving(host: order[0], ports: (ports.discovery, 0), cache: caches[0]) { _, _ in
          bothServe.value = true
          try await eventually("the first replica serves") { client.state.count(workloadType) == 2 }
          #expect(caches[0].nodes.map(\.connected) == [true] && caches[1].nodes.isEmpty)
        }
        try await eventually("the second replica has the node") { caches[1].nodes.map(\.connected) == [true] }
        try await eventually("the client is connected") { client.status.connected }
        caches[1].apply(upserts: [try resource("d")], removals: [], meshedNodes: [])
        try await eventually("the change came") { client.state.count(workloadType) == 3 }
      }
    }
    #expect(received.value.sorted() == ["a", "b", "d"])
  }

  @Test(.timeLimit(.minutes(1))) func joiningAsksTheNextReplicaWhereOneIsAway() async throws {
    let mesh = try MeshFixture()
    try await mesh.serving { ports, _ in
      let asked = Guarded<[String]>([])
      let answer = try await ClientReplicas.firstAnswer(
        ControlEndpoint(host: "127.0.0.1", port: ports.join), node: "node-a"
      ) { (replica) async throws(DiscoveryError) in
        asked.withLock { $0.append(replica.host) }
        return replica.port
      }
      #expect(answer == ports.join && asked.value == ["127.0.0.1"])
    }
  }
}

@Suite struct DeliveryTests {
  @Test func whatIsDueUnansweredAndRefusedIsCounted() throws {
    let cache = SnapshotCache()
    cache.apply(upserts: [try resource("a"), try resource("b")], removals: [], meshedNodes: [])
    #expect(cache.deliveries(of: [workloadType]).streams.isEmpty)
    let handle = cache.open(node: "n")
    try cache.receive(.subscribe(["*"]), on: handle.id)
    let keys = ["a", "b"].map { ResourceKey(typeURL: workloadType, name: $0) }
    #expect(cache.deliveries(of: [workloadType]).pending == [keys[0]: 1, keys[1]: 1])
    let response = try #require(cache.next(on: handle.id))
    #expect(cache.deliveries(of: [workloadType]).pending.count == 2)
    try cache.receive(.ack(response, refusing: "b: too odd"), on: handle.id)
    let report = cache.deliveries(of: [workloadType])
    #expect(report.streams == [workloadType: 1] && report.pending.isEmpty)
    #expect(report.rejected == [keys[1]: [.init(node: "n", reason: "too odd")]])
    let other = cache.deliveries(of: [serviceType])
    #expect(other.streams.isEmpty && other.pending.isEmpty && other.rejected.isEmpty)
    #expect(other.digests == [serviceType: 0])
    cache.close(handle.id)
    #expect(cache.deliveries(of: [workloadType]).streams.isEmpty)
  }

  @Test func theSameIsHeldWhereTheDigestIsTheSame() throws {
    let (one, two) = (SnapshotCache(), SnapshotCache())
    one.apply(upserts: [try resource("a"), try resource("b")], removals: [], meshedNodes: [])
    two.apply(upserts: [try resource("b")], removals: [], meshedNodes: [])
    #expect(one.deliveries(of: [workloadType]).digests != two.deliveries(of: [workloadType]).digests)
    two.apply(upserts: [try resource("a")], removals: [], meshedNodes: [])
    #expect(one.deliveries(of: [workloadType]).digests == two.deliveries(of: [workloadType]).digests)
  }
}
