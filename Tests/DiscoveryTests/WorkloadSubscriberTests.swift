import Foundation
import DiscoveryAPI
import Foundation
import Testing

@testable import Discovery

/// A pod that subscribes by itself: what meshed nodes get, and no trace of it afterwards.
struct WorkloadSubscriberTests {
  private func request(_ url: String) -> Envoy_Service_Discovery_V3_DeltaDiscoveryRequest {
    .with {
      $0.typeURL = url
      $0.resourceNamesSubscribe = ["*"]
    }
  }

  private func names(_ cache: SnapshotCache, _ id: UInt64) -> [String] {
    var names: [String] = []
    while let response = cache.next(on: id) {
      names += response.resources.map(\.name) + response.removedResources.map { "-" + $0 }
    }
    return names
  }

  @Test func getsWhatMeshedNodesGetAndEachChange() throws {
    let cache = SnapshotCache()
    let url = "type.googleapis.com/weft.mesh.v1.Workload"
    func resource(_ name: String, _ value: UInt8, _ audience: Audience) throws -> DiscoveryResource {
      try DiscoveryResource(typeURL: url, name: name, value: Data([value]), audience: audience)
    }
    cache.apply(
      upserts: [try resource("a", 1, .meshedNodes(and: nil)), try resource("b", 1, .meshedNodes(and: "node-a"))],
      removals: [], meshedNodes: [])
    let pod = cache.open(node: "spiffe://cluster.local/ns/shop/sa/web#1", isWorkload: true).id
    let node = cache.open(node: "node-b").id
    try cache.receive(request(url), on: pod)
    try cache.receive(request(url), on: node)
    #expect(names(cache, pod) == ["a", "b"])
    #expect(names(cache, node).isEmpty)
    cache.apply(upserts: [try resource("a", 2, .meshedNodes(and: nil))], removals: [], meshedNodes: [])
    #expect(names(cache, pod) == ["a"])
    cache.apply(upserts: [], removals: [ResourceKey(typeURL: url, name: "b")], meshedNodes: [])
    #expect(names(cache, pod) == ["-b"])
    #expect(names(cache, node).isEmpty)
  }

  @Test func podsOfOneIdentityDontReplaceEachOtherAndLeaveNothingBehind() {
    let cache = SnapshotCache()
    let first = cache.open(node: "spiffe://cluster.local/ns/shop/sa/web#1", isWorkload: true).id
    let second = cache.open(node: "spiffe://cluster.local/ns/shop/sa/web#2", isWorkload: true).id
    #expect(!cache.wasReplaced(first))
    cache.close(first)
    cache.close(second)
    #expect(cache.nodes.isEmpty)
  }
}
