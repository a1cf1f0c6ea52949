import DiscoveryAPI
import Foundation
import Testing

@testable import Discovery

/// One stream over a cache, without a network.
private struct Harness {
  let cache = SnapshotCache()
  let id: UInt64

  init(node: String = "node-a", _ resources: [DiscoveryResource] = [], meshed: Set<String> = []) {
    cache.apply(upserts: resources, removals: [], meshedNodes: meshed)
    id = cache.open(node: node).id
  }

  func send(_ request: DeltaRequest) throws { try cache.receive(request, on: id) }

  func next() -> DeltaResponse? { cache.next(on: id) }

  func apply(_ upserts: [DiscoveryResource] = [], removing: [String] = [], meshed: Set<String> = []) {
    cache.apply(
      upserts: upserts, removals: removing.map { ResourceKey(typeURL: workloadType, name: $0) }, meshedNodes: meshed)
  }

  var refused: [RejectedResource] { cache.nodes[0].nacked }
}

@Suite struct DeltaStreamTests {
  @Test(arguments: [[], ["*"]] as [[String]])
  func wildcardGetsEverythingAndThenChangesOnly(names: [String]) throws {
    let stream = Harness([try resource("a"), try resource("b"), try resource("s", type: serviceType)])
    #expect(stream.next() == nil)
    try stream.send(.subscribe(names))
    let first = try #require(stream.next())
    #expect(first.names == ["a", "b"] && first.removedResources.isEmpty && first.typeURL == workloadType)
    #expect(first.resources[0].resource.typeURL == workloadType && !first.nonce.isEmpty)
    #expect(stream.next() == nil)
    try stream.send(.ack(first))
    stream.apply([try resource("b", "2"), try resource("c")], removing: ["a"])
    let second = try #require(stream.next())
    #expect(second.names == ["b", "c"] && second.removedResources == ["a"] && second.nonce != first.nonce)
    // The same content again is no change.
    stream.apply([try resource("b", "2")], removing: ["never"])
    #expect(stream.next() == nil)
  }

  /// While it is being told everything, in several responses.
  @Test func changesDuringTheFirstTelling() throws {
    let big = (0..<6).map { "r\($0)" }
    let stream = Harness(try big.map { try resource($0, bytes: 1_000_000) })
    try stream.send(.subscribe())
    let first = try #require(stream.next())
    #expect(first.names.first == "r0" && first.names.count < 6)
    stream.apply([try resource("r5", "small"), try resource("s")], removing: ["r4"])
    // What has changed comes first, and what has gone unseen is told once at most.
    let second = try #require(stream.next())
    #expect(second.names.prefix(2) == ["r5", "s"])
    var names = first.names + second.names
    while let more = stream.next() { names += more.names }
    #expect(Set(names) == Set(big).subtracting(["r4"]).union(["s"]))
    #expect(stream.cache.deliveries(of: [workloadType]).pending.count == 7, "sent and not answered, r4's end too")
  }

  @Test func anEmptyWorldIsAnsweredOnce() throws {
    let stream = Harness()
    try stream.send(.subscribe())
    let answer = try #require(stream.next())
    #expect(answer.resources.isEmpty && answer.removedResources.isEmpty && answer.typeURL == workloadType)
    #expect(stream.next() == nil)
  }

  @Test func explicitNamesOnly() throws {
    let stream = Harness([try resource("a"), try resource("b")])
    try stream.send(.subscribe(["a", "missing"]))
    let first = try #require(stream.next())
    #expect(first.names == ["a"] && first.removedResources == ["missing"])
    stream.apply([try resource("b", "2")])
    #expect(stream.next() == nil)
    stream.apply([try resource("missing")])
    #expect(try #require(stream.next()).names == ["missing"])
    // More names, and one again: both are sent.
    try stream.send(.subscribe(["b", "a"]))
    #expect(try #require(stream.next()).names == ["a", "b"])
    try stream.send(
      .with {
        $0.typeURL = workloadType; $0.resourceNamesUnsubscribe = ["a"]
      })
    stream.apply([try resource("a", "3"), try resource("b", "3")])
    #expect(try #require(stream.next()).names == ["b"])
  }

  @Test func unsubscribing() throws {
    let stream = Harness([try resource("a"), try resource("b")])
    try stream.send(.subscribe(["*", "a"]))
    #expect(try #require(stream.next()).names == ["a", "b"])
    // Still covered by the wildcard, so it is sent again.
    try stream.send(
      .with {
        $0.typeURL = workloadType; $0.resourceNamesUnsubscribe = ["a"]
      })
    #expect(try #require(stream.next()).names == ["a"])
    try stream.send(
      .with {
        $0.typeURL = workloadType; $0.resourceNamesUnsubscribe = ["*"]
      })
    stream.apply([try resource("a", "2"), try resource("b", "2")])
    #expect(stream.next() == nil)
    try stream.send(.subscribe(["*"]))
    #expect(try #require(stream.next()).names == ["a", "b"])
  }

  @Test func resumesWithTheDifference() throws {
    let world = [try resource("same"), try resource("changed", "2"), try resource("new")]
    let stream = Harness(world)
    let known = [
      "same": try resource("same").version, "changed": try resource("changed", "1").version, "gone": "00",
    ]
    try stream.send(.subscribe(["*"], known: known))
    let answer = try #require(stream.next())
    #expect(answer.names == ["changed", "new"] && answer.removedResources == ["gone"])
    #expect(stream.next() == nil)
  }

  @Test func resumesToNothingNew() throws {
    let stream = Harness([try resource("a")])
    try stream.send(.subscribe(["*"], known: ["a": try resource("a").version]))
    let answer = try #require(stream.next())
    #expect(answer.resources.isEmpty && answer.removedResources.isEmpty)
  }

  @Test func nackIsKeptUntilTheResourceChanges() throws {
    let stream = Harness([try resource("shop/a"), try resource("shop/b"), try resource("shop/c")])
    try stream.send(.subscribe())
    let first = try #require(stream.next())
    try stream.send(.ack(first, refusing: "shop/a: addresses: 3 bytes\nshop/b: odd: very odd\n"))
    #expect(
      stream.refused == [
        .init(typeURL: workloadType, name: "shop/a", reason: "addresses: 3 bytes"),
        .init(typeURL: workloadType, name: "shop/b", reason: "odd: very odd"),
      ])
    // Not sent again as it is.
    #expect(stream.next() == nil)
    stream.apply([try resource("shop/a", "better")], removing: ["shop/b"])
    let second = try #require(stream.next())
    #expect(stream.refused.count == 2)
    try stream.send(.ack(second))
    #expect(stream.refused.isEmpty)
  }

  @Test func nackWithoutNamesIsAboutTheResponse() throws {
    let stream = Harness([try resource("a")])
    try stream.send(.subscribe())
    let first = try #require(stream.next())
    try stream.send(.ack(first, refusing: "no idea"))
    #expect(stream.refused == [.init(typeURL: workloadType, name: "", reason: "no idea")])
    // A stale nonce means nothing.
    try stream.send(.ack(first))
    try stream.send(
      .with {
        $0.typeURL = workloadType; $0.responseNonce = "77"
      })
    #expect(stream.refused.count == 1)
  }

  @Test func aBurstIsOneSending() throws {
    let stream = Harness()
    try stream.send(.subscribe())
    _ = stream.next()
    for round in 0..<1000 { stream.apply([try resource("a", "\(round)")]) }
    let answer = try #require(stream.next())
    #expect(answer.resources.count == 1)
    #expect(answer.resources[0].resource.value == Data("999".utf8))
    #expect(stream.next() == nil)
    // Made and removed before it was sent.
    stream.apply([try resource("b")])
    stream.apply(removing: ["b"])
    #expect(try #require(stream.next()).removedResources == ["b"])
  }

  @Test func responsesAreBounded() throws {
    let big = try (0..<9).map { try resource("r\($0)", bytes: 1024 * 1024) }
    let stream = Harness(big)
    try stream.send(.subscribe())
    var names: [String] = []
    var responses = 0
    while let response = stream.next() {
      let bytes = try response.serializedData().count
      #expect(bytes <= DiscoveryLimits.responseBytes)
      names += response.names
      responses += 1
      try stream.send(.ack(response))
    }
    #expect(names.count == 9 && Set(names).count == 9 && responses == 9)
    #expect(throws: DiscoveryError.self) { try resource("r", bytes: 1024 * 1024 + 1) }
    #expect(throws: DiscoveryError.self) { try resource(String(repeating: "n", count: 513)) }
    #expect(throws: DiscoveryError.self) { try resource("") }
  }

  @Test func waitsForAnswers() throws {
    let stream = Harness()
    try stream.send(.subscribe())
    var sent = [try #require(stream.next())]
    for round in 0..<20 {
      stream.apply([try resource("a", "\(round)")])
      if let response = stream.next() { sent.append(response) }
    }
    #expect(sent.count == DiscoveryLimits.unansweredResponses)
    try stream.send(.ack(sent[0]))
    #expect(try #require(stream.next()).resources[0].resource.value == Data("19".utf8))
  }

  @Test func typesTakeTurns() throws {
    let stream = Harness(
      [try resource("w"), try resource("s", type: serviceType), try resource("mesh", type: configType)])
    for type in [configType, serviceType, workloadType] { try stream.send(.subscribe(type: type)) }
    #expect(
      [stream.next(), stream.next(), stream.next()].map { $0?.typeURL } == [configType, serviceType, workloadType])
  }

  @Test func refusesWhatIsOutOfBounds() throws {
    let stream = Harness()
    var other = DeltaRequest.subscribe()
    other.node.id = "node-b"
    #expect(throws: DeltaStream.Refusal.wrongNode("node-b")) { try stream.send(other) }
    other.node.id = "node-a"
    try stream.send(other)
    #expect(throws: DeltaStream.Refusal.self) { try stream.send(.subscribe(type: "")) }
    #expect(throws: DeltaStream.Refusal.self) { try stream.send(.subscribe([String(repeating: "x", count: 513)])) }
    #expect(throws: DeltaStream.Refusal.self) { try stream.send(.subscribe([""])) }
    for index in 1..<DiscoveryLimits.typesPerStream { try stream.send(.subscribe(type: "t\(index)")) }
    #expect(throws: DeltaStream.Refusal.self) { try stream.send(.subscribe(type: "one more")) }
  }
}
