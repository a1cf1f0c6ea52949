import DiscoveryAPI
import Foundation
import Testing

@testable import Discovery

@Suite struct SnapshotCacheTests {
  private func subscribed(_ cache: SnapshotCache, _ node: String) throws -> UInt64 {
    let id = cache.open(node: node).id
    try cache.receive(.subscribe(), on: id)
    return id
  }

  @Test func aNodeGetsWhatIsMeantForIt() throws {
    let cache = SnapshotCache()
    let forB = Audience.meshedNodes(and: "node-b")
    cache.apply(
      upserts: [
        try resource("all"), try resource("meshed", audience: .meshedNodes(and: nil)),
        try resource("of-b", audience: forB),
      ], removals: [], meshedNodes: ["node-a"])
    #expect(cache.resources(workloadType, for: "node-a").map(\.name) == ["all", "meshed", "of-b"])
    #expect(cache.resources(workloadType, for: "node-b").map(\.name) == ["all", "of-b"])
    #expect(cache.resources(workloadType, for: "node-c").map(\.name) == ["all"])
    let c = try subscribed(cache, "node-c")
    #expect(cache.next(on: c)?.names == ["all"])
    // A change that this node can't see says nothing to it.
    cache.apply(upserts: [try resource("of-b", "2", audience: forB)], removals: [], meshedNodes: ["node-a"])
    #expect(cache.next(on: c) == nil)
  }

  @Test func enrollingTheFirstWorkloadBringsTheWorldAndReleasingTheLastTakesIt() throws {
    let cache = SnapshotCache()
    cache.apply(
      upserts: [try resource("all"), try resource("meshed", audience: .meshedNodes(and: nil))], removals: [],
      meshedNodes: [])
    let id = try subscribed(cache, "node-a")
    #expect(cache.next(on: id)?.names == ["all"])
    cache.apply(upserts: [], removals: [], meshedNodes: ["node-a"])
    #expect(cache.next(on: id)?.names == ["meshed"])
    cache.apply(upserts: [try resource("later", audience: .meshedNodes(and: nil))], removals: [], meshedNodes: [])
    let answer = try #require(cache.next(on: id))
    #expect(answer.resources.isEmpty && answer.removedResources == ["meshed"])
  }

  @Test func aNewAudienceComesAndGoes() throws {
    let cache = SnapshotCache()
    cache.apply(upserts: [try resource("r", audience: .meshedNodes(and: "node-a"))], removals: [], meshedNodes: [])
    let a = try subscribed(cache, "node-a")
    let b = try subscribed(cache, "node-b")
    #expect(cache.next(on: a)?.names == ["r"] && cache.next(on: b)?.names == [])
    cache.apply(upserts: [try resource("r", audience: .meshedNodes(and: "node-b"))], removals: [], meshedNodes: [])
    #expect(cache.next(on: a)?.removedResources == ["r"] && cache.next(on: b)?.names == ["r"])
    // The same content to a wider audience is news only to those who are new to it.
    cache.apply(upserts: [try resource("r")], removals: [], meshedNodes: [])
    #expect(cache.next(on: a)?.names == ["r"] && cache.next(on: b) == nil)
  }

  @Test func theNewestStreamOfANodeWins() async throws {
    let cache = SnapshotCache()
    cache.apply(upserts: [try resource("a")], removals: [], meshedNodes: [])
    let now = Date(timeIntervalSince1970: 1)
    let old = cache.open(node: "node-a", now: now)
    let new = cache.open(node: "node-a", now: now)
    for await _ in old.wakes {}
    #expect(cache.wasReplaced(old.id) && !cache.wasReplaced(new.id))
    try cache.receive(.subscribe(), on: old.id)
    #expect(cache.next(on: old.id) == nil)
    cache.close(old.id)
    #expect(cache.nodes == [NodeStatus(node: "node-a", connected: true, since: now)])
    let later = Date(timeIntervalSince1970: 2)
    cache.close(new.id, now: later)
    #expect(cache.nodes == [NodeStatus(node: "node-a", connected: false, since: later)])
    #expect(cache.takeChangedStatuses().count == 1 && cache.takeChangedStatuses().isEmpty)
  }

  @Test func versionsComeFromTheContent() throws {
    #expect(try resource("a", "x").version == resource("b", "x").version)
    #expect(try resource("a", "x").version != resource("a", "y").version)
    #expect(try resource("a", "x").version.count == 16)
    let cache = SnapshotCache()
    #expect(cache.apply(upserts: [try resource("a")], removals: [], meshedNodes: []) == 1)
    #expect(cache.generation == 1 && cache.counts == [workloadType: 1])
  }

  /// DESIGN §5's size. A single change must not cost what the world costs.
  @Test func aChangeInALargeWorldCostsTheChange() throws {
    let cache = SnapshotCache()
    let world = try (0..<100_000).map { try resource("shop/pod-\($0)", "\($0)") }
    cache.apply(upserts: world, removals: [], meshedNodes: [])
    let ids = try (0..<5).map { try subscribed(cache, "node-\($0)") }
    for id in ids {
      var count = 0
      while let response = cache.next(on: id) {
        count += response.resources.count
        try cache.receive(.ack(response), on: id)
      }
      #expect(count == 100_000)
    }
    let clock = ContinuousClock()
    let time = try clock.measure {
      for round in 0..<100 {
        cache.apply(upserts: [try resource("shop/pod-7", "v\(round)")], removals: [], meshedNodes: [])
        for id in ids {
          let response = try #require(cache.next(on: id))
          #expect(response.resources.count == 1)
          try cache.receive(.ack(response), on: id)
        }
      }
    }
    // 500 deliveries. Walking the world once for each would take a minute.
    #expect(time < .seconds(10))
  }

  @Test func aNackTextReadsBack() {
    let names = ["a:b", "a", "c"]
    let text = NackReport.text([
      .init(typeURL: "t", name: "a:b", reason: "bad: x\ny"), .init(typeURL: "t", name: "c", reason: ""),
      .init(typeURL: "t", name: "", reason: "all of it"),
    ])
    #expect(
      NackReport.parse(text, typeURL: "t", names: names) == ["a:b": "bad: x y", "c": "", "": "all of it"])
    #expect(NackReport.parse("", typeURL: "t", names: names) == ["": "refused without a reason"])
    let many = (0..<100_000).map { RejectedResource(typeURL: "t", name: "n\($0)", reason: "r") }
    #expect(NackReport.text(many).utf8.count <= NackReport.maximumBytes + 100)
  }
}
