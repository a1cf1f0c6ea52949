import MeshModel
import Testing

@testable import ProxyCore

@Suite struct InboundPolicyTests {
  private let snapshot = MeshSnapshot.of([
    .sample("a", "10.0.0.1", "fd00::1"), .sample("b", "10.0.0.2"), .sample("c", "10.0.0.3", account: "No Name"),
  ])
  private let a = SPIFFEID("spiffe://cluster.local/ns/shop/sa/sa-a")!

  private func refusal(_ uri: String?, _ address: String) -> String? {
    guard case .refused(let reason) = snapshot.judge(peerURI: uri, at: IPAddress(address)!) else { return nil }
    return reason
  }

  @Test func theIdentityOfTheWorkloadAtThatAddress() {
    #expect(snapshot.judge(peerURI: a.description, at: IPAddress("10.0.0.1")!) == .accepted(a))
    #expect(snapshot.judge(peerURI: a.description, at: IPAddress("::ffff:10.0.0.1")!) == .accepted(a))
    #expect(snapshot.judge(peerURI: a.description, at: IPAddress("fd00::1")!) == .accepted(a))
    let reason = refusal(a.description, "10.0.0.2")
    #expect(reason == "10.0.0.2 is spiffe://cluster.local/ns/shop/sa/sa-b, and its client showed \(a)")
  }

  @Test func anUnknownAddressNeedsAKnownIdentity() {
    #expect(snapshot.judge(peerURI: a.description, at: IPAddress("192.0.2.1")!) == .accepted(a))
    #expect(refusal("spiffe://cluster.local/ns/shop/sa/nobody", "192.0.2.1")?.contains("no workload") == true)
  }

  @Test(arguments: [
    nil, "", "spiffe://other/ns/shop/sa/sa-a", "spiffe://cluster.local/node/one", "spiffe://cluster.local/ns/shop/sa/",
    "spiffe://cluster.local/ns/shop/sa/sa-a/", "https://cluster.local/ns/shop/sa/sa-a",
    "spiffe://cluster.local/ns/shop/sa/SA-A", "spiffe://cluster.local/control",
  ])
  func namesThatAreNone(uri: String?) {
    #expect(refusal(uri, "10.0.0.1") != nil)
    #expect(refusal(uri, "192.0.2.1") != nil)
  }

  @Test func aWorkloadWithoutAnIdentityHasNoTunnel() { #expect(refusal(a.description, "10.0.0.3") != nil) }

  @Test func refusalsQuoteNoMoreThanALineOfThePeers() {
    #expect(refusal(String(repeating: "x", count: 2048), "10.0.0.1")!.utf8.count < 400)
  }

  @Test func plaintextByConfiguration() {
    #expect(snapshot.acceptsPlaintext)
    #expect(!MeshSnapshot.of([], config: MeshConfig(mutualTLS: .strict)).acceptsPlaintext)
  }

  @Test func onlyThePodsOwnAddressesAreDelivered() {
    for authority in ["10.0.0.1:80", "[fd00::1]:80", "[::ffff:10.0.0.1]:80", "10.0.0.1:15020"] {
      #expect(snapshot.deliveryTarget(authority: authority, of: "shop/a") == SocketAddress(authority))
    }
    for authority in [
      "10.0.0.2:80", "127.0.0.1:80", "[::1]:80", "0.0.0.0:80", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:65536", "a:80",
      "10.0.0.1:15001", "10.0.0.1:15006", "10.0.0.1:15008", "", ":", "10.0.0.1:80:80", " 10.0.0.1:80", "10.0.0.1:+80",
      "web.shop.svc.cluster.local:80", "user@10.0.0.1:80",
    ] {
      #expect(snapshot.deliveryTarget(authority: authority, of: "shop/a") == nil, "\(authority)")
    }
    #expect(snapshot.deliveryTarget(authority: "10.0.0.1:80", of: "shop/nobody") == nil)
  }

  @Test func nothingIsDeliveredToTheProxysOwnPorts() {
    let address = IPAddress("10.0.0.1")!
    for port: UInt16 in [15001, 15006, 15008] {
      #expect(!snapshot.mayDeliver(to: SocketAddress(address, port), of: "shop/a"), "port \(port) leads back here")
    }
    #expect(snapshot.mayDeliver(to: SocketAddress(address, 80), of: "shop/a"))
    #expect(!snapshot.mayDeliver(to: SocketAddress(address, 80), of: "shop/b"))
  }
}
