import MeshModel
import Testing

@testable import ProxyCore

@Suite struct ConsistencyTests {
  static let algorithms: [LoadBalancer.Algorithm] = [.ringHash(.sourceAddress), .maglev(.sourceAddress)]

  private func owners(_ set: inout EndpointSet, keys: Int) -> [SocketAddress] {
    (0..<keys).map { key in
      set.endpoints[set.choose(hash: StableHash.mix(UInt64(key)), excluding: [], now: 0, seed: UInt64(key))!].address
    }
  }

  @Test(arguments: algorithms) func aKeyStays(algorithm: LoadBalancer.Algorithm) {
    var set = EndpointSet((0..<20).map { balanced($0) }, algorithm)
    let before = owners(&set, keys: 1000)
    #expect(owners(&set, keys: 1000) == before)
    // The order of the list is nothing.
    var reversed = EndpointSet((0..<20).reversed().map { balanced($0) }, algorithm)
    #expect(owners(&reversed, keys: 1000) == before)
  }

  /// Of an endpoint that is gone only its own keys move by the ring; Maglev moves few others. They spread over all.
  @Test(arguments: algorithms) func fewKeysMoveWhereOneGoes(algorithm: LoadBalancer.Algorithm) {
    var set = EndpointSet((0..<60).map { balanced($0) }, algorithm)
    let before = owners(&set, keys: 20_000)
    set.update((1..<60).map { balanced($0) }, policy: LoadBalancer(algorithm: algorithm), now: 0)
    let after = owners(&set, keys: 20_000)
    let lost = before.count { $0 == endpointAddress(0) }
    let moved = zip(before, after).count { $0 != $1 }
    #expect(lost > 200)
    #expect(moved - lost <= (algorithm == .ringHash(.sourceAddress) ? 0 : 400))
    let heirs = Set(zip(before, after).filter { $0.0 == endpointAddress(0) }.map(\.1))
    #expect(heirs.count > 30)
  }

  /// An unready endpoint's keys move, no other, and come back.
  @Test(arguments: algorithms) func noOtherKeyMovesWhereOneIsUnready(algorithm: LoadBalancer.Algorithm) {
    let policy = LoadBalancer(algorithm: algorithm)
    var set = EndpointSet((0..<30).map { balanced($0) }, algorithm)
    let before = owners(&set, keys: 10_000)
    set.update((0..<30).map { balanced($0, isReady: $0 != 7) }, policy: policy, now: 0)
    for (old, new) in zip(before, owners(&set, keys: 10_000)) {
      #expect(old == endpointAddress(7) ? new != old : new == old)
    }
    set.update((0..<30).map { balanced($0) }, policy: policy, now: 0)
    #expect(owners(&set, keys: 10_000) == before)
  }

  /// Where one of many is left, all keys find it.
  @Test(arguments: algorithms) func theLastOneIsFound(algorithm: LoadBalancer.Algorithm) {
    var set = EndpointSet((0..<500).map { balanced($0, isReady: $0 == 321) }, algorithm)
    #expect(Set(owners(&set, keys: 200)) == [endpointAddress(321)])
  }

  @Test(arguments: [1, 2, 5, 8, 9, 50, 51, 300, 600, 2000]) func tablesAreBounded(count: Int) {
    let members = (0..<count).map { ConsistentTable.Member(hash: StableHash.mix(UInt64($0)), weight: 1) }
      .sorted { $0.hash < $1.hash }
    let ring = ConsistentTable(.ring, members: members)
    #expect((1024...65_536).contains(ring.count))
    let maglev = ConsistentTable(.maglev, members: members)
    #expect(maglev.count == (count <= 50 ? 5003 : 65_537))
    // Maglev's places differ by one at most between equal members.
    var places = Array(repeating: 0, count: count)
    for place in 0..<maglev.count { places[maglev.member(for: UInt64(place), step: 0)] += 1 }
    #expect(places.max()! - places.min()! <= 1)
  }

  @Test func maglevHoldsWeights() {
    let weights: [UInt32] = [1, 2, 3, 4, 1_000_000]
    for last in [10, 1_000_000] as [UInt32] {
      let members = weights.indices.map {
        ConsistentTable.Member(hash: StableHash.mix(UInt64($0)), weight: $0 == 4 ? last : weights[$0])
      }
      let table = ConsistentTable(.maglev, members: members)
      var places = Array(repeating: 0, count: 5)
      for place in 0..<table.count { places[table.member(for: UInt64(place), step: 0)] += 1 }
      let total = members.reduce(0) { $0 + Double($1.weight) }
      for member in members.indices {
        #expect(abs(Double(places[member]) - Double(members[member].weight) / total * 5003) <= 5)
      }
    }
  }

  /// The same bytes have the same hash in every version: keys must not move by an upgrade.
  @Test func hashesAreStable() {
    #expect(StableHash.mix(0) == 0xe220_a839_7b1d_cdaf)
    let texts = ["", "a", "session-1", "session-2", "0123456789abcdef", "0123456789abcdefg"]
    let hashes = texts.map { text in Array(text.utf8).withUnsafeBytes { StableHash.hash($0) } }
    #expect(Set(hashes).count == texts.count)
    #expect(hashes[1] == 0x5e025f9ade9eaf3e)
    #expect(StableHash.hash(endpointAddress(1)) == 0xec79888706039c9a)
  }

  @Test func keysSpreadOverEqualEndpoints() {
    for algorithm in Self.algorithms {
      var set = EndpointSet((0..<10).map { balanced($0) }, algorithm)
      var counts = Array(repeating: 0, count: 10)
      for owner in owners(&set, keys: 20_000) { counts[set.index(of: owner)!] += 1 }
      // A ring of 128 points each is uneven by a tenth or so.
      #expect(counts.allSatisfy { $0 > 1400 && $0 < 2700 })
    }
  }
}
