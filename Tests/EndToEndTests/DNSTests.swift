import Foundation
import Testing

extension EndToEnd {
  /// Names as pods ask for them. No DNS server runs in the lab but the one that a test starts.
  @Suite(.serialized, .lab("e2edns"))
  struct DNSTests {
    let lab: TestLab
    init() throws { lab = try TestLab.running() }

    private func ask(_ name: String, _ more: String..., pod: String = "client") throws -> Facts {
      let done = try lab.exec(pod, ["python3", "\(TestLab.programs)/dns.py", "ask", name] + more)
      return try Facts(of: done, named: "dns.py ask \(name)")
    }

    private func serviceAddresses() throws -> [String] {
      try lab.ask("a", "services")["services"].list.first { $0["name"].text == "server" }?["addresses"].texts ?? []
    }

    @Test("a Service's name in its forms, A and AAAA, over UDP and TCP, from the server that the pod asked")
    func forms() throws {
      let addresses = try serviceAddresses()
      let v4 = addresses.filter { $0.contains(".") }
      let v6 = addresses.filter { $0.contains(":") }
      #expect(v4.count == 1 && v6.count == 1)
      for transport in ["udp", "tcp"] {
        for name in ["server.shop.svc.cluster.local", "server.shop.svc.cluster.local."] {
          let seen = try ask(name, "A", transport)
          #expect(seen["code"].text == "NOERROR")
          #expect(seen["addresses"].texts == v4, "\(name) over \(transport)")
          #expect(seen["same_id"].bool == true)
          if transport == "udp" { #expect(seen["from"].text == "10.96.0.10") }
          #expect(try ask(name, "AAAA", transport)["addresses"].texts == v6, "\(name) over \(transport)")
        }
      }
      // Through the C library, whose search list completes the short forms.
      for name in ["server", "server.shop", "server.shop.svc", "server.shop.svc.cluster.local"] {
        let done = try lab.exec("client", ["getent", "ahostsv4", name])
        #expect(done.output.hasPrefix(v4[0]), "\(name): \(done.output)\(done.errors)")
      }
    }

    @Test("a headless Service's name leads to its pods")
    func headless() throws {
      let near = try lab.addresses("near")
      let far = try lab.addresses("far")
      #expect(try ask("server-pods.shop.svc.cluster.local")["addresses"].texts == [near.v4, far.v4].sorted())
      #expect(try ask("server-pods.shop.svc.cluster.local", "AAAA")["addresses"].texts == [near.v6, far.v6].sorted())
    }

    @Test("a name of the cluster's domain that nobody has doesn't exist; a type that a name hasn't is no error")
    func missing() throws {
      for transport in ["udp", "tcp"] {
        #expect(try ask("nobody.shop.svc.cluster.local", "A", transport)["code"].text == "NXDOMAIN")
      }
      let other = try ask("server.shop.svc.cluster.local", "TXT")
      #expect(other["code"].text == "NOERROR")
      #expect(other["addresses"].texts.isEmpty)
    }

    @Test("an answer too long for UDP is cut, says so, and is whole over TCP")
    func truncation() throws {
      let path = "\(lab.folder)/config/e2e-crowd.yaml"
      let pods = (1...60).map { index in
        """
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: crowd-\(index), namespace: shop, labels: {app: crowd}}
        spec: {nodeName: elsewhere, containers: [{name: main}]}
        status:
          phase: Running
          podIP: 10.244.8.\(index)
          podIPs: [{ip: 10.244.8.\(index)}]
          conditions: [{type: Ready, status: "True"}]

        """
      }
      try
        ("""
      apiVersion: v1
      kind: Service
      metadata: {name: crowd, namespace: shop}
      spec: {clusterIP: None, selector: {app: crowd}, ports: [{port: 80}]}

      """ + pods.joined()).write(toFile: path, atomically: true, encoding: .utf8)
      defer { try? FileManager.default.removeItem(atPath: path) }
      wait(5, for: "sixty endpoints") {
        try lab.ask("a", "services")["services"].list.first { $0["name"].text == "crowd" }?["endpoints"].list.count
          == 60
      }
      let short = try ask("crowd.shop.svc.cluster.local")
      #expect(short["truncated"].bool == true)
      #expect(short["length"].int ?? 9999 <= 512)
      let whole = try ask("crowd.shop.svc.cluster.local", "A", "tcp")
      #expect(whole["truncated"].bool == false)
      #expect(whole["addresses"].texts.count == 60)
    }

    @Test("other names go to the server that the pod asked, and its answer comes from there")
    func forwarding() throws {
      let server = try lab.addresses("stranger", in: "street").v4
      let running = try lab.start("stranger", in: "street", "dns.py", "serve")
      defer { running.terminate() }
      wait(5, for: "the DNS server") { try ask("example.com", "A", "udp", server)["code"].text == "NOERROR" }
      for transport in ["udp", "tcp"] {
        let seen = try ask("example.com", "A", transport, server)
        #expect(seen["addresses"].texts == ["192.0.2.53"], "over \(transport)")
        #expect(seen["same_id"].bool == true)
        if transport == "udp" { #expect(seen["from"].text == server) }
        // The mesh's own names are answered here, whichever server is asked.
        #expect(
          try ask("server.shop.svc.cluster.local", "A", transport, server)["addresses"].texts
            == serviceAddresses().filter { $0.contains(".") })
      }
    }

    @Test("a pod outside the mesh is left to its own server")
    func outside() throws {
      let done = try lab.exec(
        "stranger", in: "street",
        ["python3", "\(TestLab.programs)/dns.py", "ask", "server.shop.svc.cluster.local", "A", "udp"])
      #expect(done.status != 0, "nobody answers at the configured server: \(done.output)")
    }
  }
}
