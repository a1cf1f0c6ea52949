import Foundation
import Testing

extension EndToEnd {
  /// What changes or breaks while a program of the mesh is away, and what becomes of it when that is back.
  @Suite(.serialized, .lab("e2eoutage"))
  struct OutageTests {
    let lab: TestLab
    init() throws { lab = try TestLab.running() }

    private func service(_ name: String, _ address: String, port: Int) -> String {
      """
      apiVersion: v1
      kind: Service
      metadata: {name: \(name), namespace: shop}
      spec:
        selector: {app: server}
        ports:
        - {port: \(port), targetPort: 8006}
        clusterIP: \(address)

      """
    }

    private func apply(_ yaml: String) throws {
      let done = try lab.apply(yaml)
      #expect(done.status == 0, "\(done.output)\(done.errors)")
    }

    /// Such addresses lead somewhere only for a captured pod.
    private func isServed(_ address: String, _ port: Int) throws -> Bool {
      try lab.facts("client", "client.py", "attempt", address, "\(port)", "3")["end"].text == "data"
    }

    private func isConnected(_ node: String) throws -> Bool {
      try lab.ask(node, "status")["control"]["connected"].bool == true
    }

    @Test("a change made while the control plane was down arrives when it is back", arguments: ["kill", "stop"])
    func changes(way: String) throws {
      let names = ["changed", "gone", "added"]
      let (changed, gone, added) = ("10.96.78.1", "10.96.78.2", "10.96.78.3")
      defer {
        _ = try? lab.lab("start", ["control"])
        for name in names { _ = try? lab.lab("delete", ["service/\(name)", "-n", "shop"]) }
      }
      try apply(service("changed", changed, port: 81) + "---\n" + service("gone", gone, port: 81))
      wait(5, for: "the Services") { try isServed(changed, 81) && isServed(gone, 81) }
      try lab.act(way, "control")
      wait(10, for: "the agent to notice") { try !isConnected("a") }
      try apply(service("changed", changed, port: 82) + "---\n" + service("added", added, port: 81))
      try lab.act("delete", "service/gone", "-n", "shop")
      #expect(try isServed(changed, 81) && isServed(gone, 81), "what was there before")
      #expect(try !isServed(changed, 82) && !isServed(added, 81), "nobody can have told the agent")
      try lab.act("start", "control")
      wait(15, for: "the changes") { try isServed(changed, 82) && isServed(added, 81) }
      #expect(try !isServed(changed, 81))
      let known = try lab.ask("a", "services")["services"].list.compactMap { $0["name"].text }
      #expect(known.contains("changed") && known.contains("added") && !known.contains("gone"), "\(known)")
    }

    enum Damage: String, CaseIterable { case garbage, flipped, cut }

    @Test(
      "an agent with a corrupt snapshot says so and starts; it serves again when the control plane is there",
      arguments: Damage.allCases)
    func snapshot(damage: Damage) throws {
      defer {
        _ = try? lab.lab("start", ["control"])
        _ = try? lab.lab("start", ["agent", "--node", "a"])
      }
      let path = "\(lab.folder)/nodes/a/state/snapshot/mesh.bin"
      // A mesh is saved once it has been told in full.
      wait(10, for: "the saved mesh") { FileManager.default.fileExists(atPath: path) }
      try lab.act("stop", "agent", "--node", "a")
      try lab.act("stop", "control")
      var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
      switch damage {
      case .garbage: bytes = Data((0..<5000).map { _ in UInt8.random(in: 0..<128) })
      case .flipped: bytes[bytes.count - 1] ^= 1
      case .cut: bytes.removeLast(bytes.count / 2)
      }
      // Not atomically: the file keeps its mode.
      try bytes.write(to: URL(fileURLWithPath: path))
      let logged = lab.log("agent-a").count
      try lab.act("start", "agent", "--node", "a")
      let news = String(lab.log("agent-a").dropFirst(logged))
      let reason = damage == .garbage ? "is not a saved snapshot" : "is damaged (its checksum differs)"
      #expect(
        news.split(separator: "\n").contains {
          $0.contains("\"level\":\"error\"") && $0.contains("the saved snapshot can't be used")
            && $0.contains("\(path) \(reason)")
        }, "\(news)")
      #expect(try lab.ask("a", "status")["pods"]["enrolled"].int == 0)
      let check = try lab.weft("a", "check")
      #expect(check.status == 1 && check.output.contains(reason), "\(check.output)")

      try lab.act("start", "control")
      wait(15, for: "the pods") { try lab.ask("a", "status")["pods"]["enrolled"].int == 2 }
      #expect(try lab.facts("client", "client.py", "names", "server", "80", "4").members.count > 0)
      #expect(try lab.facts("client", "client.py", "who", lab.addresses("far").v4)["name"].text == "far")
      wait(5, for: "a good snapshot, and weft check to be content") { try lab.weft("a", "check").status == 0 }

      // The new one is whole: it serves without a control plane.
      try lab.act("stop", "control")
      try lab.act("kill", "agent", "--node", "a")
      try lab.act("kill", "proxy", "--node", "a")
      try lab.act("start", "agent", "--node", "a")
      wait(15, for: "the pods from the snapshot") { try lab.ask("a", "status")["pods"]["enrolled"].int == 2 }
      #expect(try lab.ask("a", "status")["snapshot"]["restored"].bool == true)
      #expect(try lab.facts("client", "client.py", "who", lab.addresses("far").v4)["name"].text == "far")
      try lab.act("start", "control")
      wait(15, for: "the agent to connect again") { try isConnected("a") }
    }

    /// What the proxy knows of the mesh is all that's left of it: without it the destination's pod would be any address,
    /// and be called in plaintext.
    @Test("an agent without a mesh, beside a living proxy, changes nothing for captured pods")
    func livingProxy() throws {
      defer {
        _ = try? lab.lab("start", ["control"])
        _ = try? lab.lab("start", ["agent", "--node", "a"])
      }
      let proxy = try lab.proxy("a")
      try lab.act("kill", "agent", "--node", "a")
      try lab.act("stop", "control")
      try Data("garbage".utf8).write(to: URL(fileURLWithPath: "\(lab.folder)/nodes/a/state/snapshot/mesh.bin"))
      try lab.act("start", "agent", "--node", "a")
      #expect(try lab.proxy("a") == proxy)
      let far = try lab.addresses("far").v4
      for _ in 0..<3 {
        let talk = try lab.start("client", "client.py", "raw", far, "8001", "78", "25")
        wait(15, for: "the connection by mTLS") {
          try lab.ask("b", "connections")["connections"].list.contains {
            $0["source"].text == "shop/client" && $0["destination"].text == "shop/far" && $0["tls"].bool == true
          }
        }
        talk.terminate()
      }
      try lab.act("start", "control")
      wait(15, for: "the pods") { try lab.ask("a", "status")["pods"]["enrolled"].int == 2 }
      #expect(try lab.proxy("a") == proxy)
      #expect(try lab.facts("client", "client.py", "who", far)["name"].text == "far")
    }
  }
}
