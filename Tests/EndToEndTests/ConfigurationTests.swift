import Foundation
import Testing

extension EndToEnd {
  /// Files in the folder that a running control plane watches: what is wrong is refused with its place, what was good
  /// before stays in force.
  @Suite(.serialized, .lab("e2econfig"))
  struct ConfigurationTests {
    let lab: TestLab
    init() throws { lab = try TestLab.running() }

    /// Line 5 holds the selector, line 7 the port.
    private static let service = """
      apiVersion: v1
      kind: Service
      metadata: {name: extra, namespace: shop}
      spec:
        selector: {app: server}
        ports:
        - {port: 81, targetPort: 8006}
        clusterIP: 10.96.77.1

      """

    /// The objects of a file that the control plane refused, each with its reason.
    private func refusals(of file: String) throws -> [Facts] {
      let status = try Facts(
        json: String(contentsOfFile: "\(lab.folder)/control/state/status.json", encoding: .utf8), or: "status.json")
      return status["objects"].list.filter { $0["accepted"].bool == false && $0["file"].text == file }
    }

    private func write(_ file: String, _ text: String) throws -> String {
      let path = "\(lab.folder)/config/\(file)"
      try text.write(toFile: path, atomically: true, encoding: .utf8)
      return path
    }

    private func isKnown(_ service: String) throws -> Bool {
      try lab.ask("a", "services")["services"].list.contains { $0["name"].text == service }
    }

    private func isServed(_ port: Int = 81) throws -> Bool {
      try lab.facts("client", "client.py", "attempt", "10.96.77.1", "\(port)")["end"].text == "data"
    }

    @Test(
      "a file that can't be right is refused with file, line and field",
      arguments: [
        ("typo.yaml", service.replacing("selector", with: "selectr"), ["typo.yaml:5:", "spec.selectr"]),
        ("type.yaml", service.replacing("port: 81", with: "port: many"), ["type.yaml:7:", "spec.ports[0].port"]),
        ("kind.yaml", service.replacing("Service", with: "Servise"), ["kind.yaml:2:", "Servise"]),
        ("yaml.yaml", "apiVersion: v1\nkind: [Service\n", ["yaml.yaml:"]),
        ("twice.yaml", service + "---\n" + service, ["twice.yaml:", "extra"]),
        ("huge.yaml", "# ", ["huge.yaml"]),
      ])
    func refused(file: String, text: String, reason: [String]) throws {
      // Not in the argument, which the log repeats.
      let padding = file == "huge.yaml" ? String(repeating: "x", count: 40 << 20) : ""
      let path = try write(file, text + padding)
      defer { try? FileManager.default.removeItem(atPath: path) }
      wait(5, for: "the refusal of \(file)") { try !refusals(of: file).isEmpty }
      let reasons = try refusals(of: file).compactMap { $0["reason"].text }.joined(separator: "\n")
      for part in reason { #expect(reasons.contains(part), "\(reasons)") }
      // The rest of the folder is in force as before.
      #expect(try lab.facts("client", "client.py", "names", "server", "80", "1").members.count == 1)
      try FileManager.default.removeItem(atPath: path)
      wait(5, for: "the end of the refusal") { try refusals(of: file).isEmpty }
    }

    @Test("a good object that becomes bad stays as it was, until it is mended or gone")
    func lastGood() throws {
      let path = try write("lasting.yaml", Self.service)
      defer { try? FileManager.default.removeItem(atPath: path) }
      wait(5, for: "the Service") { try isServed() }
      _ = try write("lasting.yaml", Self.service.replacing("targetPort", with: "targetPrt"))
      wait(5, for: "the refusal") { try !refusals(of: "lasting.yaml").isEmpty }
      #expect(try isServed())
      _ = try write("lasting.yaml", Self.service.replacing("81", with: "82"))
      wait(5, for: "the mended Service") { try isServed(82) }
      #expect(try refusals(of: "lasting.yaml").isEmpty)
      #expect(try !isServed(81))
      try FileManager.default.removeItem(atPath: path)
      wait(5, for: "the Service's end") { try !isKnown("extra") }
    }

    @Test("symlinks in a circle end the reading of that link, not of the folder")
    func links() throws {
      let folder = "\(lab.folder)/config"
      let links = [("loop", "."), ("one.yaml", "two.yaml"), ("two.yaml", "one.yaml"), ("nowhere.yaml", "nothing.yaml")]
      defer { for (link, _) in links { try? FileManager.default.removeItem(atPath: "\(folder)/\(link)") } }
      for (link, target) in links {
        try FileManager.default.createSymbolicLink(atPath: "\(folder)/\(link)", withDestinationPath: target)
      }
      let path = try write("after.yaml", Self.service)
      defer { try? FileManager.default.removeItem(atPath: path) }
      wait(5, for: "an object written after the links") { try isServed() }
    }

    @Test("weft-lab apply tells what the control plane refused, by its status too")
    func apply() throws {
      let done = try lab.apply(
        """
        apiVersion: weft.dev/v1alpha1
        kind: PeerAuthentication
        metadata: {name: default, namespace: weft-system}
        spec: {mtls: {mode: LAX}}
        """)
      #expect(done.status == 1)
      #expect((done.output + done.errors).contains("spec.mtls.mode"), "\(done.output)\(done.errors)")
      let good = try lab.apply(Self.service.replacing("10.96.77.1", with: "10.96.77.2"))
      #expect(good.status == 0, "\(good.output)\(good.errors)")
      try lab.act("delete", "service/extra", "-n", "shop")
      wait(5, for: "the Service's end") { try !isKnown("extra") }
    }
  }
}
