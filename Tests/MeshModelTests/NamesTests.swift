import Testing

@testable import MeshModel

@Suite struct NamesTests {
  private let long = String(repeating: "a", count: 63)

  @Test func labels() {
    for label in ["a", "0", "a-b", "x1", long] { #expect(DNSName.isLabel(label)) }
    for label in ["", "-", "-a", "a-", "A", "a_b", "a.b", "ä", long + "a", "a b", "a\u{0}"] {
      #expect(!DNSName.isLabel(label), "\(label)")
    }
  }

  @Test func subdomains() {
    let longest = [long, long, long, String(repeating: "b", count: 61)].joined(separator: ".")
    #expect(longest.utf8.count == 253)
    for name in ["a", "a.b", "0.1", longest] { #expect(DNSName.isSubdomain(name)) }
    for name in ["", ".", "a.", ".a", "a..b", "a.B", longest + "b", "-.a"] {
      #expect(!DNSName.isSubdomain(name), "\(name)")
    }
  }

  @Test func trustDomains() {
    for name in ["cluster.local", "a_b-c.1", "-", String(repeating: "d", count: 255)] {
      #expect(TrustDomain(name)?.name == name)
    }
    for name in ["", "Cluster.local", "a/b", "a:b", "a b", "ü", String(repeating: "d", count: 256)] {
      #expect(TrustDomain(name) == nil, "\(name)")
    }
  }

  @Test func spiffeIDsComeBackFromTheirText() throws {
    let text = "spiffe://cluster.local/ns/shop/sa/web.frontend"
    let id = try #require(SPIFFEID(text))
    #expect(id.trustDomain == .clusterLocal && id.namespace == "shop" && id.serviceAccount == "web.frontend")
    #expect(id.description == text)
    #expect(SPIFFEID(trustDomain: .clusterLocal, namespace: "a.b", serviceAccount: "x") == nil)
  }

  @Test(arguments: [
    "", "spiffe://", "spiffe:///ns/a/sa/b", "spiffe://td", "spiffe://td/ns/a/sa", "spiffe://td/ns/a/sa/",
    "spiffe://td/ns//sa/b", "spiffe://td/ns/a/sa/b/", "spiffe://td/ns/a/sa/b/c", "spiffe://td//ns/a/sa/b",
    "SPIFFE://td/ns/a/sa/b", "spiffe://TD/ns/a/sa/b", "spiffe://td/ns/A/sa/b", "spiffe://td/ns/a/sa/b?x",
    "spiffe://td/ns/a/sa/b#x", "spiffe://td:80/ns/a/sa/b", "spiffe://u@td/ns/a/sa/b", "spiffe://td/ns/a/sa/b%20",
    "spiffe://td/sa/b/ns/a", "spiffe://td/node/one", " spiffe://td/ns/a/sa/b", "spiffe://td/ns/../sa/b",
    "spiffe://td/ns/a/sa/b\n",
  ])
  func textThatIsNoWorkload(text: String) { #expect(SPIFFEID(text) == nil) }

  @Test func idsAreBounded() {
    // 2048 bytes is the SPIFFE ID's bound; names of Kubernetes end long before it.
    let account = Array(repeating: long, count: 4).joined(separator: ".").prefix(253)
    let domain = String(repeating: "d", count: 255)
    let text = "spiffe://\(domain)/ns/\(long)/sa/\(account)"
    #expect(SPIFFEID(text)?.description == text)
    #expect(SPIFFEID("spiffe://td/ns/a/sa/" + String(repeating: "b.", count: 2000) + "b") == nil)
  }

  @Test func nodeIDs() {
    let text = "spiffe://cluster.local/node/one.example"
    #expect(NodeID(text)?.node == "one.example")
    #expect(NodeID(text)?.description == text)
    for bad in [
      "spiffe://td/node", "spiffe://td/node/", "spiffe://td/node/a/b", "spiffe://td/node/A", "spiffe://td/ns/a/sa/b",
      "spiffe://td/Node/a", "node/a",
    ] { #expect(NodeID(bad) == nil, "\(bad)") }
    #expect(NodeID(trustDomain: .clusterLocal, node: "") == nil)
  }

  @Test func serviceKeys() {
    #expect(ServiceKey("shop/web") == ServiceKey(namespace: "shop", name: "web"))
    #expect(ServiceKey("shop/web")?.description == "shop/web")
    for bad in ["", "/", "shop", "shop/", "/web", "shop/web/x", "Shop/web", "shop/web.x", "a.b/c"] {
      #expect(ServiceKey(bad) == nil, "\(bad)")
    }
  }

  @Test func anIdentityNeedsValidNames() {
    var workload = Workload(
      id: "shop/a", namespace: "shop", name: "a", serviceAccount: "web", node: "one", addresses: [], isMeshed: true)
    #expect(workload.identity(in: .clusterLocal)?.description == "spiffe://cluster.local/ns/shop/sa/web")
    workload.serviceAccount = ""
    #expect(workload.identity(in: .clusterLocal) == nil)
  }
}
