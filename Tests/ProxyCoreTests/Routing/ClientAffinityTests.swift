import MeshModel
import Testing

@testable import ProxyCore

@Suite struct ClientAffinityTests {
  private func balancer(_ policies: [TrafficPolicy], hasAffinity: Bool = true) throws -> LoadBalancer {
    var service = Service.sample("reviews")
    service.hasClientAffinity = hasAffinity
    var update = MeshSnapshotUpdate(services: [service])
    update.policies = policies
    let traffic = try #require(MeshSnapshot().applying(update).traffic(of: .reviews, port: 80))
    return traffic.policy(client: nil, routeID: nil).loadBalancer
  }

  @Test func aServiceWithClientIPHashesTheSource() throws {
    #expect(ClientAffinity.holds(try balancer([])))
    #expect(try balancer([], hasAffinity: false) == LoadBalancer())
    // Any policy of the Service goes before it; one that says nothing of balancing leaves it.
    var policy = TrafficPolicy(namespace: "shop", name: "z", created: 5, targets: [.init(kind: .service(.reviews))])
    #expect(ClientAffinity.holds(try balancer([policy])))
    policy.loadBalancer = LoadBalancer(algorithm: .random)
    #expect(try balancer([policy]) == LoadBalancer(algorithm: .random))
  }

  @Test func whatTurnsItOnAndOffIsTheService() throws {
    var update = MeshSnapshotUpdate(services: [.sample("reviews")])
    let before = MeshSnapshot().applying(update)
    update.services[0].hasClientAffinity = true
    let after = before.applying(update)
    let traffic = try #require(after.traffic(of: .reviews, port: 80))
    #expect(ClientAffinity.holds(traffic.policy(client: nil, routeID: nil).loadBalancer))
  }

  @Test func onlyClientsOfAnEndpointThatGoesMove() {
    let endpoints = (1...5).map { SocketAddress(IPAddress("10.0.0.\($0)")!, 80) }
    let clients = (0..<1000).map { IPAddress("10.1.\($0 / 250).\($0 % 250)")! }
    let before = clients.map { endpoints[ClientAffinity.choose(from: endpoints, for: $0)!] }
    for endpoint in endpoints { #expect((120...280).contains(before.count { $0 == endpoint })) }
    let rest = Array(endpoints.dropLast().reversed())
    for (client, old) in zip(clients, before) where old != endpoints[4] {
      #expect(rest[ClientAffinity.choose(from: rest, for: client)!] == old)
    }
    #expect(ClientAffinity.choose(from: [], for: clients[0]) == nil)
  }
}
