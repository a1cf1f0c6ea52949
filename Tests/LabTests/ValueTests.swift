import Foundation
import Testing
import Yams

@testable import Lab

@Suite struct ValueTests {
  @Test("What is rendered reads as the same value")
  func rendering() throws {
    let yaml = """
      a: "12"
      b: 12
      c: 'it''s "quoted"\\'
      d: [x, {y: [1, [2, true]], z: {}}, [], null]
      "yes": no
      e.f/g: |
        two
        lines
      h: 1.5
      time: 12:30
      "odd key: #": "\\u0001\\u2028é"

      """
    let first = try YAMLValue(try #require(try Yams.compose(yaml: yaml)))
    let text = first.rendered()
    let second = try YAMLValue(try #require(try Yams.compose(yaml: text)))
    #expect(second.rendered() == text)
    func content(_ key: String) -> String { "\(second[key]?.kindName ?? "absent")" }
    #expect(content("a") == "the string \"12\"")
    #expect(content("b") == "the number 12")
    #expect(content("c") == "the string \"it's \"quoted\"\\\"")
    #expect(content("yes") == "the string \"no\"")
    #expect(content("e.f/g") == "the string \"two\nlines\n\"")
    #expect(content("h") == "the number 1.5")
    #expect(content("time") == "the string \"12:30\"")
    #expect(content("odd key: #") == "the string \"\u{1}\u{2028}é\"")
    #expect(second["d"]?.rendered() == first["d"]?.rendered())
  }

  @Test(arguments: ["", "a-b", "Ab", "abcdefghijklm", "a_b", "a/b", "..", "a b"])
  func labNamesRefused(_ text: String) { #expect(LabName(text) == nil) }

  @Test(arguments: ["default", "a", "t1", "abcdefghijkl"])
  func labNamesTaken(_ text: String) { #expect(LabName(text)?.description == text) }

  @Test("A namespace belongs to one lab")
  func namespaceOwners() throws {
    let layout = Layout(name: try #require(LabName("a")), cgroupRoot: "/")
    #expect(layout.owns(namespace: "weft-a") && layout.owns(namespace: "weft-a-east"))
    #expect(
      !layout.owns(namespace: "weft-ab") && !layout.owns(namespace: "weft-ab-east") && !layout.owns(namespace: "a"))
  }

  @Test func addresses() {
    #expect(AddressPlan.nodeV4(1).description == "10.200.0.11")
    #expect(AddressPlan.nodeV6(1).description == "fd00:200::b")
    #expect(AddressPlan.podV4(node: 3, slot: 0).description == "10.244.3.2")
    #expect(AddressPlan.podV6(node: 3, slot: 9).description == "fd00:244:3::b")
    #expect(AddressPlan.podRangeV6(node: 3) == "fd00:244:3::/64")
    #expect(AddressPlan.gatewayV4(node: 3).description == "10.244.3.1")
    #expect(AddressPlan.dnsServer.description == "10.96.0.10")
  }

  @Test func exitStatuses() {
    #expect(ProcessEnd(waitStatus: 42 << 8).shellCode == 42)
    #expect(ProcessEnd(waitStatus: 9).shellCode == 137)
    // With a core file: bit 7.
    #expect(ProcessEnd(waitStatus: 0x8b) == .signal(11))
  }

  @Test("Answers of an agent: plain, chunked, refused, cut off")
  func answers() {
    func body(_ text: String) -> String? {
      AdminClient.body(Array(text.utf8)).map { String(decoding: $0, as: UTF8.self) }
    }
    #expect(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") == "{}")
    #expect(
      body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n") == "abcde")
    #expect(body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc") == nil)
    #expect(body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc") == nil)
    #expect(body("HTTP/1.1 404 Not Found\r\n\r\n{}") == nil)
    #expect(body("HTTP/1.1 200") == nil)
  }

  @Test("A record is of one process, not of its number")
  func processRecords() throws {
    var record = try #require(ProcessRecord(pid: getpid()))
    #expect(record.isRunning)
    record.startTime += 1
    #expect(!record.isRunning)
    #expect(ProcessRecord(pid: 0x3fff_ffff) == nil)
  }

  @Test func environment() throws {
    let yaml =
      Sample.nodes
      + Sample.pod(
        "a", on: "west",
        """
        command: [sleep]
            env:
            - {name: A, value: x}
            - {name: B, value: $(A)-$(LATER)-$$(A)}
            - {name: LATER, value: z}
            - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
            - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        """)
    let folder = try Folder(["all.yaml": yaml])
    let layout = Layout(name: try #require(LabName("a")), cgroupRoot: "/")
    let input = try LabInput(directory: folder.path, manifests: ManifestFiles.readDirectory(folder.path))
    var maker = LabMaker(
      layout: layout, progress: Progress(isQuiet: true),
      state: LabState(
        name: "a", directory: folder.path, createdAt: Date(), isMeshed: false, hasIPv6: true, options: MeshOptions()),
      input: input)
    maker.plan()
    let manifest = try #require(input.pods.values.first)
    let environment = ContainerEnvironment(
      layout: layout, state: maker.state, pod: maker.state.pods[0], manifest: manifest,
      container: manifest.containers[0])
    #expect(environment.values["B"] == "x-$(LATER)-$(A)")
    #expect(environment.values["IP"] == "10.244.1.2")
    #expect(environment.values["NODE"] == "west")
    #expect(environment.expand("$(B) $A $( $(LAB_DIR)") == "x-$(LATER)-$(A) $A $( \(folder.path)")
  }
}
