import Foundation
import Testing

extension EndToEnd {
  /// Pods that enter and leave the mesh while they run.
  @Suite(.serialized, .lab("e2eenrol"))
  struct EnrolmentTests {
    let lab: TestLab
    init() throws { lab = try TestLab.running() }

    private func isEnrolled(_ id: String, on node: String) throws -> Bool {
      try lab.workload(id, on: node)?["state"].text == "enrolled"
    }

    private func apply(_ yaml: String) throws {
      let done = try lab.apply(yaml)
      #expect(done.status == 0, "\(done.output)\(done.errors)")
    }

    private func pod(
      _ name: String, in namespace: String = "street", labels: String, command: String = "[sleep, infinity]"
    ) -> String {
      """
      apiVersion: v1
      kind: Pod
      metadata: {name: \(name), namespace: \(namespace), labels: {\(labels)}}
      spec:
        nodeName: a
        containers:
        - name: main
          command: \(command)

      """
    }

    private func namespace(_ value: String) -> String {
      "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {weft.dev/mesh: \(value)}}\n"
    }

    /// How many entries each map of a node holds.
    private func fill(_ node: String) throws -> [String: Int] {
      try lab.ask(node, "bpf")["maps"].list.reduce(into: [:]) { counts, map in
        if let name = map["name"].text, let entries = map["entries"].int { counts[name] = entries }
      }
    }

    private func descriptors(of pid: Int) throws -> Int {
      try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count
    }

    private func pins() throws -> [String] {
      try FileManager.default.subpathsOfDirectory(atPath: "/sys/fs/bpf/weft-lab/\(lab.name)").sorted()
    }

    @Test("connections outlive their pods' release and enrolment, carried ones and direct ones")
    func labelOfANamespace() throws {
      let far = try lab.addresses("far").v4
      let near = try lab.addresses("near").v4
      let carried = try [far, near].map { try lab.start("client", "client.py", "long", $0, "8006", "8") }
      sleep(1)
      try apply(namespace("disabled"))
      wait(5, for: "the pods' release") {
        try !isEnrolled("shop/client", on: "a") && !isEnrolled("shop/far", on: "b")
      }
      let direct = try [far, near].map { try lab.start("client", "client.py", "long", $0, "8006", "4") }
      sleep(1)
      try apply(namespace("enabled"))
      wait(5, for: "the pods' enrolment") {
        try isEnrolled("shop/client", on: "a") && isEnrolled("shop/near", on: "a") && isEnrolled("shop/far", on: "b")
      }
      for connection in carried + direct {
        let seen = try connection.facts(within: 20)
        #expect(seen["held"].bool == true, "\(seen)")
        #expect(seen["turns"].int ?? 0 > 20, "\(seen)")
      }
      #expect(try lab.facts("client", "client.py", "who", far)["name"].text == "far")
    }

    @Test("a hundred enrolments and releases of a pod leave no map entry, descriptor or pin")
    func cycles() throws {
      let yaml = { (value: String) in self.pod("cycler", labels: "weft.dev/mesh: \(value)") }
      try apply(yaml("disabled"))
      // The file that weft-lab wrote, changed under the control plane: a hundred cycles in short time.
      let config = "\(lab.folder)/config"
      let name = try #require(
        try FileManager.default.contentsOfDirectory(atPath: config).first { $0.contains("cycler") })
      let off = try String(contentsOfFile: "\(config)/\(name)", encoding: .utf8)
      let on = off.replacing("disabled", with: "enabled")
      try #require(on != off)
      func turn(_ text: String, until isIn: Bool) throws {
        try text.write(toFile: "\(config)/\(name)", atomically: true, encoding: .utf8)
        wait(5, for: isIn ? "enrolment" : "release") { try isEnrolled("street/cycler", on: "a") == isIn }
      }
      try turn(on, until: true)
      try turn(off, until: false)
      let proxy = try lab.proxy("a")
      let before = (maps: try fill("a"), descriptors: try descriptors(of: proxy), pins: try pins())
      for _ in 0..<100 {
        try turn(on, until: true)
        try turn(off, until: false)
      }
      #expect(try fill("a") == before.maps)
      #expect(try pins() == before.pins)
      #expect(try lab.proxy("a") == proxy)
      wait(5, for: "no more descriptors than \(before.descriptors)") {
        try descriptors(of: proxy) <= before.descriptors
      }
      try lab.act("delete", "pod/cycler", "-n", "street")
    }

    @Test("a pod that goes while it enters the mesh leaves nothing, and no other pod notices")
    func deletedInBetween() throws {
      let before = try fill("a")
      let load = try lab.start("client", "client.py", "steady", lab.addresses("near").v4, "8006", "4")
      for _ in 0..<6 {
        try apply(pod("brief", labels: "weft.dev/mesh: disabled"))
        try apply(pod("brief", labels: "weft.dev/mesh: enabled"))
        try lab.act("delete", "pod/brief", "-n", "street")
      }
      let seen = try load.facts(within: 20)
      #expect(seen["refused"].int == 0 && seen["broken"].int == 0 && seen["good"].int ?? 0 > 20, "\(seen)")
      wait(5, for: "the maps to be as before") { try fill("a") == before }
      #expect(try lab.ask("a", "status")["pods"]["failed"].int == 0)
    }

    @Test("a pod whose application has the proxy's port is held, refuses connections, and says why")
    func portTaken() throws {
      let script = "[python3, -m, http.server, \"15001\"]"
      try apply(pod("taken", labels: "weft.dev/mesh: disabled", command: script))
      let near = try lab.addresses("near").v4
      wait(10, for: "the server") { try lab.exec("taken", in: "street", ["ss", "-Hltn"]).output.contains(":15001 ") }
      #expect(try lab.facts("taken", in: "street", "client.py", "attempt", near, "8006")["end"].text == "data")
      try apply(pod("taken", labels: "weft.dev/mesh: enabled", command: script))
      wait(5, for: "the failure") { try lab.workload("street/taken", on: "a")?["state"].text == "failed" }
      let reason = try lab.workload("street/taken", on: "a")?["reason"].text ?? ""
      #expect(reason.contains("15001") && reason.contains("taken"), "\(reason)")
      // Not one connection in plaintext from a pod that should be in the mesh.
      let held = try lab.facts("taken", in: "street", "client.py", "attempt", near, "8006")
      #expect(held["stage"].text == "connect" && held["end"].text != "data", "\(held)")
      let check = try lab.weft("a", "check")
      #expect(check.status == 1)
      #expect(check.output.contains("street/taken"), "\(check.output)")
      try lab.act("delete", "pod/taken", "-n", "street")
      wait(5, for: "the end of the failure") { try lab.ask("a", "status")["pods"]["failed"].int == 0 }
    }

    @Test("with neither agent nor proxy, fail-mode open lets connections pass, and closed doesn't")
    func failModes() throws {
      try apply(pod("lenient", labels: "weft.dev/mesh: enabled, weft.dev/fail-mode: open"))
      let far = try lab.addresses("far").v4
      #expect(try lab.facts("lenient", in: "street", "client.py", "attempt", far, "8006")["end"].text == "data")
      try lab.act("kill", "agent", "--node", "a")
      try lab.act("kill", "proxy", "--node", "a")
      wait(20, for: "the open pod's traffic to pass") {
        try lab.facts("lenient", in: "street", "client.py", "attempt", far, "8006", "2")["end"].text == "data"
      }
      let closed = try lab.facts("client", "client.py", "attempt", far, "8006", "2")
      #expect(closed["end"].text != "data", "\(closed)")
      try lab.act("start", "agent", "--node", "a")
      wait(15, for: "both pods") { try isEnrolled("street/lenient", on: "a") && isEnrolled("shop/client", on: "a") }
      for (pod, namespace) in [("lenient", "street"), ("client", "shop")] {
        #expect(try lab.facts(pod, in: namespace, "client.py", "attempt", far, "8006")["end"].text == "data")
      }
      try lab.act("delete", "pod/lenient", "-n", "street")
    }

    @Test("two labs side by side have the same addresses and nothing in common")
    func twoLabs() throws {
      let far = try lab.addresses("far").v4
      let other = try TestLab.up("e2etwo")
      do {
        defer { other.down() }
        #expect(try other.addresses("far").v4 == far)
        let load = try lab.start("client", "client.py", "steady", far, "8006", "2")
        #expect(try other.facts("client", "client.py", "many", far, "8006", "200")["good"].int == 200)
        #expect(try other.ask("b", "status")["pods"]["enrolled"].int == 1)
        let seen = try load.facts(within: 20)
        #expect(seen["refused"].int == 0 && seen["broken"].int == 0 && seen["good"].int ?? 0 > 5, "\(seen)")
      }
      #expect(try lab.facts("client", "client.py", "who", far)["name"].text == "far")
      #expect(!FileManager.default.fileExists(atPath: other.folder))
    }
  }
}
