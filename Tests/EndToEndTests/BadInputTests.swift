import Foundation
import Testing

extension EndToEnd {
  /// What strangers and broken programs send to the proxy's ports and to the DNS server. Each connection ends at once,
  /// and the proxy is the same process before and after.
  @Suite(.serialized, .lab("e2ebad"))
  struct BadInputTests {
    let lab: TestLab
    init() throws { lab = try TestLab.running() }

    private func proxies() throws -> [Int] { try ["a", "b"].map(lab.proxy) }

    /// The mesh carries nothing any more of what was, and carries new streams on both nodes.
    private func expectGoodHealth(sourceLocation: SourceLocation = #_sourceLocation) throws {
      for node in ["a", "b"] {
        wait(10, for: "the end of node \(node)'s connections", sourceLocation: sourceLocation) {
          try lab.ask(node, "connections")["total"].int == 0
        }
      }
      for pod in ["near", "far"] {
        let seen = try lab.facts("client", "client.py", "who", lab.addresses(pod).v4)
        #expect(seen["name"].text == pod, sourceLocation: sourceLocation)
      }
    }

    @Test(
      "garbage, half requests and a ClientHello to the proxy's ports, from inside and outside",
      arguments: [15001, 15006, 15008])
    func garbage(port: Int) throws {
      let before = try proxies()
      let far = try lab.addresses("far")
      let near = try lab.addresses("near")
      for (pod, namespace, addresses) in [
        ("client", "shop", [near.v4, near.v6, far.v4, far.v6]), ("stranger", "street", [near.v4, far.v4, far.v6]),
        // From the pod itself, where the proxy listens.
        ("near", "shop", ["127.0.0.1", "::1", near.v4, near.v6]),
      ] {
        for address in addresses {
          let seen = try lab.facts(pod, in: namespace, "garbage.py", address, "\(port)", timeout: 200).members
          let way = "from \(pod) to \(address)"
          #expect(seen.count == 12)
          for (message, facts) in seen {
            #expect(facts["end"].text != "open", "\(message) \(way): \(facts)")
            #expect(facts["milliseconds"].int ?? 99_999 < 9000, "\(message) \(way): \(facts)")
            // Of the tunnel's port TLS alerts come back; of the others nothing at all.
            #expect(["nothing", port == 15008 ? "TLS" : "nothing"].contains(facts["got"].text), "\(message) \(way)")
          }
        }
      }
      #expect(try proxies() == before)
      try expectGoodHealth()
    }

    @Test("DNS packets that are short, huge, or compressed in loops are answered or dropped, and the server lives")
    func dns() throws {
      let before = try proxies()
      let seen = try lab.facts("client", "dns.py", "bad", timeout: 60)
      #expect(seen["sent"].int ?? 0 >= 200)
      #expect(seen["after"].text == "NOERROR", "a good query after the bad ones")
      #expect(seen["after_tcp"].text == "NOERROR", "a good query over TCP after the bad ones")
      #expect(try proxies() == before)
      try expectGoodHealth()
    }
  }
}
