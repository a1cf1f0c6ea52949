import MeshModel
import Testing

@testable import ProxyCore

@Suite struct ClientAffinityTests {
  private static let bound = LoadBalancer(algorithm: .maglev(.sourceAddress))

  private func balancer(_ policies: [TrafficPolicy], hasAffinity: Bool = true) throws -> LoadBalancer {
    var service = Service.sample("reviews")
    service.hasClientAffinity = hasAffinity
    var update = MeshSnapshotUpdate(services: [service])
    update.policies = policies
    let traffic = try #require(MeshSnapshot().applying(update).traffic(of: .reviews, port: 80))
    return traffic.policy(client: nil, routeID: nil).loadBalancer
  }

  @Test func aServiceWithClientIPHashesTheSource() throws {
    #expect(try balancer([]) == Self.bound)
    #expect(try balancer([], hasAffinity: false) == LoadBalancer())
    // Any policy of the Service goes before it; one that says nothing of balancing leaves it.
    var policy = TrafficPolicy(namespace: "shop", name: "z", created: 5, targets: [.init(kind: .service(.reviews))])
    #expect(try balancer([policy]) == Self.bound)
    policy.loadBalancer = LoadBalancer(algorithm: .random)
    #expect(try balancer([policy]) == LoadBalancer(algorithm: .random))
  }

  @Test func whatTurnsItOnAndOffIsTheService() throws {
    var update = MeshSnapshotUpdate(services: [.sample("reviews")])
    let before = MeshSnapshot().applying(update)
    update.services[0].hasClientAffinity = true
    let after = before.applying(update)
    let traffic = try #require(after.traffic(of: .reviews, port: 80))
    #expect(traffic.policy(client: nil, routeID: nil).loadBalancer == Self.bound)
  }
}
