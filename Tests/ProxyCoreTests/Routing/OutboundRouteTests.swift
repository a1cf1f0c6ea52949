import MeshModel
import Testing

@testable import ProxyCore

@Suite struct OutboundRouteTests {
  private let snapshot = MeshSnapshot.of(
    [
      .sample("near", "10.0.0.1", "fd00::1", services: ["web": [(80, 8080)], "db": [(5432, 5432)]]),
      .sample("far", "10.0.1.1", node: "two", services: ["web": [(80, 9090)], "db": [(5432, 5432)]]),
      .sample("sick", "10.0.1.2", node: "two", isReady: false, services: ["web": [(80, 8080)], "down": [(80, 80)]]),
      .sample("plain", "10.0.2.1", node: "two", isMeshed: false, services: ["web": [(80, 8080)]]),
      .sample("odd", "10.0.1.3", node: "two", services: ["web": [(443, 8443)]]),
    ],
    services: [
      .sample("web", "10.96.0.1", "fd00:96::1", ports: [80, 81]), .sample("db", ports: [5432]),
      .sample("down", "10.96.0.2"),
      Service(
        key: ServiceKey(namespace: "shop", name: "dns"), addresses: [IPAddress("10.96.0.10")!],
        ports: [.init(port: 53, transport: .udp)]),
    ])

  private func route(_ destination: String) -> OutboundRoute {
    snapshot.route(to: SocketAddress(destination)!) { $0 == "shop/near" }
  }

  private func endpoint(
    _ address: String, _ name: String, _ transport: OutboundRoute.Transport
  ) -> OutboundRoute.Endpoint {
    .init(address: SocketAddress(address)!, workloadID: "shop/\(name)", transport: transport)
  }

  private func identity(_ name: String) -> SPIFFEID { SPIFFEID("spiffe://cluster.local/ns/shop/sa/sa-\(name)")! }

  private func endpoints(_ family: IPAddress.Family) -> [OutboundRoute.Endpoint] {
    snapshot.balancedEndpoints(
      of: ServiceKey(namespace: "shop", name: "web"), port: 80, family: family, here: nil
    ) { $0 == "shop/near" }.filter(\.0.isReady).map(\.1)
  }

  @Test func aServicesReadyEndpointsOnTheirOwnPorts() {
    #expect(
      endpoints(.v4) == [
        endpoint("10.0.1.1:9090", "far", .tunnel(identity("far"))), endpoint("10.0.0.1:8080", "near", .delivery),
        endpoint("10.0.2.1:8080", "plain", .plaintext),
      ])
  }

  @Test func theFamilyThatWasAskedForIsPreferred() {
    #expect(endpoints(.v6).map(\.address.description) == ["10.0.1.1:9090", "[fd00::1]:8080", "10.0.2.1:8080"])
  }

  @Test func aServicesPortIsItsRoutesAffair() {
    #expect(route("10.96.0.1:80") == .service(ServiceKey(namespace: "shop", name: "web")))
    #expect(route("[fd00:96::1]:80") == .service(ServiceKey(namespace: "shop", name: "web")))
    // Without an endpoint as well.
    #expect(route("10.96.0.2:80") == .service(ServiceKey(namespace: "shop", name: "down")))
    #expect(route("10.96.0.1:443") == .refused(.unknownServicePort))
    #expect(route("10.96.0.10:53") == .refused(.unknownServicePort))
  }

  @Test func aPodIsReachedByItsOwnAddress() {
    #expect(route("10.0.0.1:1234") == .endpoint(endpoint("10.0.0.1:1234", "near", .delivery)))
    #expect(
      route("10.0.1.1:5432")
        == .endpoint(endpoint("10.0.1.1:5432", "far", .tunnel(identity("far")))))
    // Whoever names an unready pod wants that pod.
    #expect(
      route("10.0.1.2:80") == .endpoint(endpoint("10.0.1.2:80", "sick", .tunnel(identity("sick")))))
    #expect(route("10.0.2.1:80") == .endpoint(endpoint("10.0.2.1:80", "plain", .plaintext)))
    // HBONE itself is not wrapped again.
    #expect(route("10.0.1.1:15008") == .endpoint(endpoint("10.0.1.1:15008", "far", .plaintext)))
  }

  @Test func theProxysOwnPortsAreNoDestination() {
    #expect(route("10.0.1.1:15001") == .refused(.proxyAddress))
    #expect(route("10.0.0.1:15006") == .refused(.proxyAddress))
    guard case .endpoint = route("10.0.2.1:15001") else { return #expect(Bool(false)) }
  }

  @Test func allElsePasses() {
    #expect(route("192.0.2.1:443") == .passthrough(SocketAddress("192.0.2.1:443")!))
    #expect(route("[2001:db8::1]:443") == .passthrough(SocketAddress("[2001:db8::1]:443")!))
    #expect(
      MeshSnapshot().route(to: SocketAddress("10.0.0.1:1")!) { _ in true } == .passthrough(SocketAddress("10.0.0.1:1")!)
    )
  }

  @Test func withoutAValidIdentityThereIsNoTunnel() {
    let odd = MeshSnapshot.of([.sample("a", "10.0.0.1", account: "Not A Name")])
    #expect(
      odd.route(to: SocketAddress("10.0.0.1:80")!) { _ in false }
        == .endpoint(endpoint("10.0.0.1:80", "a", .plaintext)))
  }
}
