import Foundation
import Testing

extension EndToEnd {
  /// Who may enter a meshed pod, and under which name.
  @Suite(.serialized, .lab("e2epolicy"))
  struct PolicyTests {
    let lab: TestLab
    let target: String
    init() throws {
      lab = try TestLab.running()
      target = try lab.addresses("far").v4
    }

    private func setMutualTLS(_ mode: String) throws {
      let done = try lab.apply(
        """
        apiVersion: weft.dev/v1alpha1
        kind: PeerAuthentication
        metadata: {name: default, namespace: weft-system}
        spec: {mtls: {mode: \(mode)}}
        """)
      #expect(done.status == 0, "\(done.output)\(done.errors)")
    }

    private func plaintext(_ host: String) throws -> String? {
      try lab.facts("stranger", in: "street", "client.py", "attempt", host, "8006")["end"].text
    }

    @Test("PERMISSIVE lets plaintext in and STRICT doesn't; probes from the node pass, and the mesh's own traffic")
    func strict() throws {
      let near = try lab.addresses("near")
      let far = try lab.addresses("far")
      let places = [near.v4, near.v6, far.v4, far.v6]
      for place in places { #expect(try plaintext(place) == "data", "PERMISSIVE, to \(place)") }
      let held = try lab.start("client", "client.py", "long", far.v4, "8006", "4")
      try setMutualTLS("STRICT")
      defer { try? setMutualTLS("PERMISSIVE") }
      for place in places {
        wait(5, for: "plaintext to \(place) to be refused") { ["reset", "refused"].contains(try plaintext(place)) }
      }
      for (name, place) in zip(["near", "near", "far", "far"], places) {
        #expect(try lab.facts("client", "client.py", "who", place)["name"].text == name)
      }
      #expect(lab.log("agent-b").contains("refused: mutual TLS is STRICT"))

      // As the kubelet does: from the node's address, to the port that the pod's readiness probe names, and to another.
      func fromNode(_ port: Int) throws -> Int32 {
        try Finished.of(
          "/usr/bin/env",
          [
            "nsenter", "--net=/run/netns/weft-\(lab.name)-b", "curl", "-sS", "--max-time", "3",
            "http://\(far.v4):\(port)/",
          ]
        ).status
      }
      #expect(try fromNode(8009) == 0, "the probe's port")
      #expect(try fromNode(8006) != 0, "a port that no probe names")
      let longest = try held.facts(within: 20)
      #expect(longest["held"].bool == true, "a tunnel's connection broke by the change: \(longest)")
      try setMutualTLS("PERMISSIVE")
      wait(5, for: "plaintext to be let in again") { try plaintext(far.v4) == "data" }
    }

    // MARK: certificates

    private var authority: String { "\(lab.folder)/control/state" }

    /// A folder with a certificate by the mesh's CA.
    private func issued(_ account: String) throws -> String {
      let folder = "\(lab.folder)/certificates-\(account)"
      let done = try Finished.of(
        "\(TestLab.binaries)/weft-control",
        [
          "issue", "--state-dir", authority, "--spiffe-id", "spiffe://cluster.local/ns/shop/sa/\(account)", "--out",
          folder,
        ])
      try #require(done.status == 0, "\(done.errors)")
      return folder
    }

    /// A folder with a certificate in the client's name that nobody should take.
    private func made(_ name: String, days: Int, by certificate: String, _ key: String) throws -> String {
      let folder = "\(lab.folder)/certificates-\(name)"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: "\(issued("client"))/key.pem", toPath: "\(folder)/key.pem")
      try """
      subjectAltName=critical,URI:spiffe://cluster.local/ns/shop/sa/client
      extendedKeyUsage=clientAuth,serverAuth
      keyUsage=critical,digitalSignature
      """.write(toFile: "\(folder)/extensions", atomically: true, encoding: .utf8)
      try openssl("req", "-new", "-key", "\(folder)/key.pem", "-subj", "/", "-out", "\(folder)/request")
      try openssl(
        "x509", "-req", "-in", "\(folder)/request", "-CA", certificate, "-CAkey", key, "-set_serial", "5", "-days",
        "\(days)", "-extfile", "\(folder)/extensions", "-out", "\(folder)/tls.pem")
      return folder
    }

    @discardableResult
    private func openssl(_ arguments: String...) throws -> String {
      let done = try Finished.of("/usr/bin/env", ["openssl"] + arguments)
      try #require(done.status == 0, "openssl: \(done.errors)")
      return done.output
    }

    private func tunnel(_ method: String = "CONNECT", to authority: String, _ more: String...) throws -> Facts {
      let done = try lab.exec(
        "client", ["python3", "\(TestLab.programs)/tunnel.py", target, method, authority] + more)
      return try Facts(of: done, named: "tunnel.py \(method) \(authority)")
    }

    @Test("a tunnel needs a certificate: in force, of the mesh's CA, and of the workload at the client's address")
    func certificates() throws {
      let before = try lab.proxy("b")
      let right = try issued("client")
      let good = try tunnel(to: "\(target):8006", right)
      #expect(good["status"].text == "200")
      #expect(good["line"]["name"].text == "far")
      #expect(good["line"]["peer"].list.first?.text == (try lab.addresses("client").v4))

      let foreign = "\(lab.folder)/foreign"
      try openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "\(foreign).key")
      try openssl(
        "req", "-x509", "-new", "-key", "\(foreign).key", "-subj", "/CN=foreign", "-days", "1", "-out",
        "\(foreign).pem")
      let cases: [(what: String, arguments: [String], reason: String)] = [
        ("another's identity", [try issued("server")], "its client showed spiffe://cluster.local/ns/shop/sa/server"),
        (
          "another CA", [try made("foreign", days: 1, by: "\(foreign).pem", "\(foreign).key")],
          "unable to get local issuer certificate"
        ),
        (
          "expired", [try made("expired", days: -1, by: "\(authority)/ca.pem", "\(authority)/ca.key")],
          "certificate has expired"
        ),
        ("none", [], "did not return a certificate"),
        ("TLS 1.2", [right, "tls1.2"], "unsupported protocol"),
      ]
      for (what, arguments, reason) in cases {
        #expect(!lab.log("agent-b").contains(reason), "\(what)")
        let done = try lab.exec(
          "client",
          ["python3", "\(TestLab.programs)/tunnel.py", target, "CONNECT", "\(target):8006"] + arguments)
        #expect(try Facts(of: done, named: what)["status"].text == "none", "\(what): \(done.output)")
        wait(3, for: "the reason in the log: \(what)") {
          lab.log("agent-b").split(separator: "\n").contains {
            $0.contains("shop/far: a tunnel from ") && $0.contains(" is refused: ") && $0.contains(reason)
          }
        }
      }
      #expect(try lab.proxy("b") == before)
      #expect(try tunnel(to: "\(target):8006", right)["status"].text == "200")
    }

    @Test("a tunnel leads to its pod only, by CONNECT only")
    func requests() throws {
      let right = try issued("client")
      let near = try lab.addresses("near").v4
      for address in [
        "\(near):8006", "\(target):15006", "\(target):15008", "127.0.0.1:8006", "10.200.0.1:15010", "far",
      ] {
        #expect(try tunnel(to: address, right)["status"].text == "403", "CONNECT to \(address)")
      }
      for method in ["GET", "POST"] {
        #expect(try tunnel(method, to: "\(target):8006", right)["status"].text == "405", "\(method)")
      }
      #expect(try tunnel(to: "\(target):8006", right)["status"].text == "200")
    }

    // MARK: signing

    /// The file with the key and certificate that node b's agent itself has.
    private func identityOfNodeB() throws -> String {
      let folder = "\(lab.folder)/nodes/b/state/identities"
      let files = try FileManager.default.contentsOfDirectory(atPath: folder).map { "\(folder)/\($0)" }
      return try #require(
        try files.first {
          try $0.hasSuffix(".identity.pem")
            && openssl("x509", "-in", $0, "-noout", "-ext", "subjectAltName").contains("cluster.local/node/b")
        })
    }

    /// Asks the CA to sign as node b's agent does; the status and message of its answer.
    private func sign(_ id: String, with identity: String) throws -> String {
      let folder = "\(lab.folder)/signing-\(UUID().uuidString)"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(atPath: folder) }
      try openssl(
        "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", "\(folder)/key",
        "-subj", "/", "-addext", "subjectAltName=critical,URI:\(id)", "-outform", "DER", "-out", "\(folder)/request")
      let request = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/request"))
      // Field 1, its length as a varint of two bytes; before it gRPC's prefix.
      try #require((128..<16384).contains(request.count))
      let message = [0x0a, UInt8(request.count & 0x7f | 0x80), UInt8(request.count >> 7)] + request
      let body = [0, 0, 0, UInt8(message.count >> 8), UInt8(message.count & 0xff)] + message
      try Data(body).write(to: URL(fileURLWithPath: "\(folder)/body"))
      let done = try Finished.of(
        "/usr/bin/env",
        [
          "nsenter", "--net=/run/netns/weft-\(lab.name)-b", "curl", "-sS", "--http2", "--insecure", "--max-time", "5",
          "--cert", identity, "--key", identity, "-H", "content-type: application/grpc", "-H", "te: trailers",
          "--data-binary", "@\(folder)/body", "-D", "\(folder)/headers", "-o", "\(folder)/answer",
          "https://10.200.0.1:15010/weft.identity.v1.CertificateAuthority/Sign",
        ])
      try #require(done.status == 0, "curl: \(done.errors)")
      return try String(contentsOfFile: "\(folder)/headers", encoding: .utf8)
    }

    @Test("the CA refuses an agent every identity that is not scheduled on its node")
    func signing() throws {
      let identity = try identityOfNodeB()
      let own = try sign("spiffe://cluster.local/ns/shop/sa/server", with: identity)
      #expect(own.contains("grpc-status: 0"), "\(own)")
      for id in [
        "spiffe://cluster.local/ns/shop/sa/client", "spiffe://cluster.local/ns/street/sa/default",
        "spiffe://cluster.local/ns/shop/sa/nobody", "spiffe://elsewhere.local/ns/shop/sa/server",
        "spiffe://cluster.local/node/a",
      ] {
        let answer = try sign(id, with: identity)
        #expect(answer.contains("grpc-status: 7"), "\(id): \(answer)")
        wait(3, for: "the refusal of \(id) in the log") {
          lab.log("control").split(separator: "\n").contains {
            $0.contains("refused to sign") && $0.contains("\"identity\":\"\(id)\"") && $0.contains("\"node\":\"b\"")
          }
        }
      }
      let workload = try sign("spiffe://cluster.local/ns/shop/sa/server", with: issuedFile("server"))
      #expect(workload.contains("grpc-status: 16"), "\(workload)")
    }

    /// Key and certificate of an account in one file.
    private func issuedFile(_ account: String) throws -> String {
      let folder = try issued(account)
      let path = "\(folder)/both.pem"
      let parts = try ["key.pem", "tls.pem"].map { try String(contentsOfFile: "\(folder)/\($0)", encoding: .utf8) }
      try parts.joined().write(toFile: path, atomically: true, encoding: .utf8)
      return path
    }
  }
}
