import MeshModel
import Testing

@testable import ProxyCore

@Suite struct MeshSnapshotTests {
  private let web = ServiceKey(namespace: "shop", name: "web")

  @Test func aServiceMayComeAfterItsWorkloads() {
    var snapshot = MeshSnapshot.of([.sample("b", "10.0.0.2", services: ["web": [(80, 8080)]])])
    #expect(snapshot.service(web) == nil)
    #expect(snapshot.serviceCount == 0)
    snapshot = snapshot.applying(
      MeshSnapshotUpdate(
        [.sample("a", "10.0.0.1", services: ["web": [(80, 8080)]])], services: [.sample("web", "10.96.0.1")]))
    #expect(snapshot.serviceCount == 1)
    #expect(snapshot.endpoints(of: web).map(\.workloadID) == ["shop/a", "shop/b"])
    #expect(snapshot.endpoints(of: web).map { $0.targetPort(for: 80) } == [8080, 8080])
    #expect(snapshot.endpoints(of: web)[0].targetPort(for: 81) == nil)
  }

  @Test func aRemovedServiceComesBackWithItsEndpoints() {
    var snapshot = MeshSnapshot.of(
      [.sample("a", "10.0.0.1", services: ["web": [(80, 8080)]])], services: [.sample("web", "10.96.0.1")])
    snapshot = snapshot.applying(MeshSnapshotUpdate(removedServices: ["web"]))
    #expect(snapshot.service(at: IPAddress("10.96.0.1")!) == nil)
    snapshot = snapshot.applying(MeshSnapshotUpdate(services: [.sample("web", "10.96.0.2")]))
    #expect(snapshot.endpoints(of: web).count == 1)
    #expect(snapshot.service(at: IPAddress("10.96.0.2")!)?.key == web)
    #expect(snapshot.service(at: IPAddress("10.96.0.1")!) == nil)
  }

  /// Requests under way hold the limits: what counts them has to be what counts the next ones.
  @Test func limitsGoOnWhenEverythingIsReplaced() throws {
    var policy = TrafficPolicy(namespace: "shop", name: "web", targets: [.init(kind: .service(web))])
    policy.circuitBreaker = CircuitBreaker(maxRequests: 1)
    policy.retryBudget = RetryBudget(percent: 50)
    policy.rateLimits = [RateLimit(requests: 1, burst: 1)]
    var update = MeshSnapshotUpdate(services: [.sample("web", "10.96.0.1")], isComplete: true)
    update.policies = [policy]
    let snapshot = MeshSnapshot().applying(update)
    let first = try #require(snapshot.traffic(of: web, port: 80))
    let second = try #require(snapshot.applying(update).traffic(of: web, port: 80))
    #expect(second !== first)
    #expect(first.limits.tryAcquire(.requests))
    #expect(!second.limits.tryAcquire(.requests))
    #expect(second.budget === first.budget)
    #expect(second.buckets(of: policy.rateLimits[0]) === first.buckets(of: policy.rateLimits[0]))
  }

  @Test func anAddressMovesBetweenServicesInAnyOrder() {
    let before = MeshSnapshot.of([], services: [.sample("web", "10.96.0.1"), .sample("api", "10.96.0.2")])
    let changes = [Service.sample("web", "10.96.0.3"), Service.sample("api", "10.96.0.1")]
    for services in [changes, changes.reversed()] {
      let after = before.applying(MeshSnapshotUpdate(services: services))
      #expect(after.service(at: IPAddress("10.96.0.1")!)?.key.name == "api")
      #expect(after.service(at: IPAddress("10.96.0.2")!) == nil)
      #expect(after.service(at: IPAddress("10.96.0.3")!)?.key.name == "web")
    }
  }

  @Test func anAddressMovesBetweenWorkloadsInAnyOrder() {
    let before = MeshSnapshot.of([.sample("a", "10.0.0.1")])
    let address = IPAddress("10.0.0.1")!
    let replaced = before.applying(MeshSnapshotUpdate([.sample("b", "10.0.0.1")], removed: ["shop/a"]))
    #expect(replaced.workload(at: address)?.name == "b")
    let overlapping = before.applying(MeshSnapshotUpdate([.sample("b", "10.0.0.1")]))
      .applying(MeshSnapshotUpdate(removed: ["shop/a"]))
    #expect(overlapping.workload(at: address)?.name == "b")
    #expect(overlapping.workloadCount == 1)
  }

  /// Whoever comes and goes, in whatever order: who stays is found.
  @Test func anAddressOfSeveralIsLostByNoneThatStays() {
    let address = IPAddress("10.0.0.1")!
    for (last, other) in [("a", "b"), ("b", "a")] {
      let both = MeshSnapshot.of([.sample(other, "10.0.0.1")]).applying(MeshSnapshotUpdate([.sample(last, "10.0.0.1")]))
      for (gone, stays) in [("a", "b"), ("b", "a")] {
        let left = both.applying(MeshSnapshotUpdate(removed: ["shop/\(gone)"]))
        #expect(left.workload(at: address)?.name == stays, "\(last) came last")
        // Nor where it has moved away, or is only told anew.
        let moved = both.applying(MeshSnapshotUpdate([.sample(gone, "10.0.0.7")]))
        #expect(moved.workload(at: address)?.name == stays)
        let again = both.applying(MeshSnapshotUpdate([.sample(gone, "10.0.0.1")]))
        #expect(again.workload(at: address)?.name == "a", "not a matter of the order")
        let ended = again.applying(MeshSnapshotUpdate([.sample(gone, "10.0.0.1", isReady: false)]))
        #expect(ended.workload(at: address)?.name == stays)
        #expect(left.applying(MeshSnapshotUpdate(removed: ["shop/\(stays)"])).workload(at: address) == nil)
      }
    }
    let three = MeshSnapshot.of(["c", "a", "b"].map { .sample($0, "10.0.0.1") })
    #expect(three.applying(MeshSnapshotUpdate(removed: ["shop/a", "shop/c"])).workload(at: address)?.name == "b")
  }

  @Test func anAddressOfSeveralServicesIsLostByNoneThatStays() {
    let address = IPAddress("10.96.0.1")!
    for names in [["web", "api"], ["api", "web"]] {
      let both = MeshSnapshot.of([], services: names.map { .sample($0, "10.96.0.1") })
      for (gone, stays) in [("web", "api"), ("api", "web")] {
        let left = both.applying(MeshSnapshotUpdate(removedServices: [gone]))
        #expect(left.service(at: address)?.key.name == stays)
        let moved = both.applying(MeshSnapshotUpdate(services: [.sample(gone, "10.96.0.9")]))
        #expect(moved.service(at: address)?.key.name == stays)
        #expect(left.applying(MeshSnapshotUpdate(removedServices: [stays])).service(at: address) == nil)
      }
    }
  }

  @Test func identitiesAreKnownAsLongAsSomebodyHasThem() {
    let shared = SPIFFEID("spiffe://cluster.local/ns/shop/sa/shared")!
    var snapshot = MeshSnapshot.of([
      .sample("a", "10.0.0.1", account: "shared"), .sample("b", "10.0.0.2", account: "shared"),
    ])
    snapshot = snapshot.applying(MeshSnapshotUpdate([.sample("a", "10.0.0.1", account: "other")]))
    #expect(snapshot.knows(shared))
    #expect(snapshot.knows(SPIFFEID("spiffe://cluster.local/ns/shop/sa/other")!))
    snapshot = snapshot.applying(MeshSnapshotUpdate(removed: ["shop/b"]))
    #expect(!snapshot.knows(shared))
    snapshot = snapshot.applying(MeshSnapshotUpdate(config: MeshConfig(trustDomain: TrustDomain("other")!)))
    #expect(snapshot.knows(SPIFFEID("spiffe://other/ns/shop/sa/other")!))
    #expect(!snapshot.knows(SPIFFEID("spiffe://cluster.local/ns/shop/sa/other")!))
  }

  @Test func aCompleteUpdateReplacesAllButTheConfiguration() {
    let strict = MeshConfig(mutualTLS: .strict)
    let before = MeshSnapshot.of(
      [.sample("a", "10.0.0.1")], services: [.sample("web", "10.96.0.1")], config: strict)
    let after = before.applying(MeshSnapshotUpdate([.sample("b", "10.0.0.2")], isComplete: true))
    #expect(after.config == strict)
    #expect(after.workload(id: "shop/a") == nil && after.workload(at: IPAddress("10.0.0.1")!) == nil)
    #expect(after.serviceCount == 0 && after.service(at: IPAddress("10.96.0.1")!) == nil)
    #expect(after.workloadCount == 1)
    #expect(!after.knows(SPIFFEID("spiffe://cluster.local/ns/shop/sa/sa-a")!))
    // The old value is what it was: others may still read it.
    #expect(before.workload(id: "shop/a") != nil)
  }

  @Test func whatIsNotThereIsRemovedWithoutHarm() {
    let snapshot = MeshSnapshot.of([]).applying(
      MeshSnapshotUpdate(removed: ["shop/x"], removedServices: ["y"]))
    #expect(snapshot.workloadCount == 0)
  }

  /// Updates by chance, each in one step and against a snapshot built anew from what should be there.
  @Test(arguments: 0..<10 as Range<UInt64>) func stepByStepEqualsBuiltAnew(seed: UInt64) {
    var random = SeededRandom(state: seed)
    var workloads: [String: Workload] = [:]
    var services: [ServiceKey: Service] = [:]
    var snapshot = MeshSnapshot.of([])
    let names = (0..<12).map { "w\($0)" }
    let serviceNames = (0..<5).map { "s\($0)" }
    for _ in 0..<200 {
      var update = MeshSnapshotUpdate()
      update.node = "one"
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let index = Int.random(in: 0..<12, using: &random)
        let service = Int.random(in: 0..<5, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: update.removedWorkloads.append("shop/\(names[index])")
        case 1: update.removedServices.append(ServiceKey(namespace: "shop", name: serviceNames[service]))
        case 2:
          // One of two addresses of its own: no two claim the same.
          update.services.append(
            .sample(serviceNames[service], "10.96.\(service).\(Int.random(in: 1...2, using: &random))"))
        default:
          let members = serviceNames.filter { _ in Bool.random(using: &random) }
          update.workloads.append(
            .sample(
              names[index], "10.0.\(index).\(Int.random(in: 1...2, using: &random))",
              isReady: Bool.random(using: &random),
              services: Dictionary(uniqueKeysWithValues: members.map { ($0, [(80, 8080)]) }),
              account: "sa\(Int.random(in: 0..<4, using: &random))"))
        }
      }
      for id in update.removedWorkloads { workloads[id] = nil }
      for key in update.removedServices { services[key] = nil }
      for workload in update.workloads { workloads[workload.id] = workload }
      for service in update.services { services[service.key] = service }
      snapshot = snapshot.applying(update)
      let anew = MeshSnapshot.of(Array(workloads.values).shuffled(using: &random), services: Array(services.values))
      #expect(snapshot.workloadCount == anew.workloadCount)
      #expect(snapshot.serviceCount == anew.serviceCount)
      for name in serviceNames {
        let key = ServiceKey(namespace: "shop", name: name)
        #expect(snapshot.service(key) == anew.service(key))
        #expect(snapshot.endpoints(of: key) == anew.endpoints(of: key))
      }
      for index in 0..<12 {
        for last in 1...2 {
          let address = IPAddress("10.0.\(index).\(last)")!
          #expect(snapshot.workload(at: address) == anew.workload(at: address))
          let virtual = IPAddress("10.96.\(index).\(last)")!
          #expect(snapshot.service(at: virtual) == anew.service(at: virtual))
        }
      }
      for account in 0..<4 {
        let identity = SPIFFEID("spiffe://cluster.local/ns/shop/sa/sa\(account)")!
        #expect(snapshot.knows(identity) == anew.knows(identity))
      }
    }
  }
}
