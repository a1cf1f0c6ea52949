import Foundation
import Testing

@testable import Lab

@Suite("Input is refused before anything is made, naming file and field")
struct InputTests {
  static let node = "apiVersion: v1\nkind: Node\nmetadata: {name: east}\n---\n"

  static func pod(_ spec: String, metadata: String = "name: a") -> String {
    "apiVersion: v1\nkind: Pod\nmetadata: {\(metadata)}\nspec:\n  nodeName: east\n\(spec)"
  }

  static func service(_ spec: String, name: String = "s") -> String {
    "apiVersion: v1\nkind: Service\nmetadata: {name: \(name)}\nspec: {\(spec)}\n"
  }

  static let run = "  containers: [{name: c, command: [sleep, infinity]}]\n"

  struct Case: CustomTestStringConvertible, Sendable {
    var yaml: String
    /// What the message must name: line and field, and a word of the reason.
    var message: [String]
    var testDescription: String { message.joined(separator: " ") }
  }

  static let refused: [Case] = [
    Case(yaml: "", message: ["holds no Node"]),
    Case(yaml: "just text", message: [":1: ", "expected an object"]),
    Case(yaml: "kind: Node", message: [":1: ", "apiVersion", "is required"]),
    Case(yaml: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}", message: [":2: kind", "Deployment"]),
    Case(yaml: "apiVersion: v1\nkind: Node\nmetadata: {name: East}", message: [":3: metadata.name", "no DNS name"]),
    Case(yaml: "apiVersion: v1\nkind: Node\nmetadata: {name: p1}", message: ["metadata.name", "kept for a pod"]),
    Case(yaml: "apiVersion: v1\nkind: Node\nmetadata: {name: 7}", message: ["metadata.name", "expected a string"]),
    Case(yaml: "apiVersion: v1\nkind: Node\nmetadata: {name: a, nam: b}", message: ["metadata.nam", "unknown field"]),
    Case(yaml: node + node, message: [":7: metadata.name", "Node east stands twice", "all.yaml:1"]),
    Case(yaml: "a: 1\na: 2", message: [":", "twice"]),
    Case(yaml: "a: [", message: [":"]),
    Case(yaml: node + pod(run, metadata: "name: a, namespace: shop"), message: ["metadata.namespace", "shop"]),
    Case(yaml: node + pod("  containers: []\n"), message: ["spec.containers", "at least one"]),
    Case(yaml: node + pod("  container: []\n"), message: [":10: spec.container", "unknown field"]),
    Case(
      yaml: node + pod("  containers: [{name: c}]\n"), message: ["spec.containers[0].command", "runs programs"]),
    Case(
      yaml: node + pod("  containers: [{name: c, command: [sleep, 5]}]\n"),
      message: ["spec.containers[0].command[1]", "expected a string", "number 5"]),
    Case(
      yaml: node + pod("  containers: [{name: c, command: [no-such-program-here]}]\n"),
      message: ["spec.containers", "[0].command", "no-such-program-here", "install"]),
    Case(
      yaml: node + pod("  containers: [{name: c, command: [sleep], ports: [{containerPort: 70000}]}]\n"),
      message: ["spec.containers[0].ports[0].containerPort", "1 to 65535"]),
    Case(
      yaml: node + pod("  containers: [{name: c, command: [sleep]}, {name: c, command: [sleep]}]\n"),
      message: ["spec.containers[1].name", "two containers"]),
    Case(
      yaml: node + pod("  containers: [{name: c, command: [sleep], env: [{name: A, value: 1}]}]\n"),
      message: ["env[0].value", "expected a string"]),
    Case(yaml: node + pod("  hostNetwork: true\n" + run), message: ["spec.hostNetwork", "of its own"]),
    Case(
      yaml: node + pod(run).replacingOccurrences(of: "nodeName: east", with: "nodeName: north"),
      message: ["spec.nodeName", "no Node \"north\"", "east"]),
    Case(yaml: node + service("clusterIP: 10.96"), message: ["spec.clusterIP", "10.96"]),
    Case(yaml: node + service("clusterIP: 10.244.0.9"), message: ["spec.clusterIP", "range"]),
    Case(
      yaml: node + service("clusterIP: 10.96.0.7") + "---\n" + service("clusterIP: 10.96.0.7", name: "t"),
      message: ["spec.clusterIP", "10.96.0.7", "Service default/s"]),
    Case(yaml: node + service("ports: [{port: 0}]"), message: ["spec.ports[0].port", "1 to 65535"]),
    Case(yaml: node + service("port: 1"), message: ["spec.port", "unknown field"]),
  ]

  @Test(arguments: refused)
  func refuses(_ test: Case) throws {
    let folder = try Folder(["all.yaml": test.yaml])
    let error = #expect(throws: LabError.self) {
      _ = try LabInput(directory: folder.path, manifests: ManifestFiles.readDirectory(folder.path))
    }
    let message = "\(try #require(error))"
    for part in test.message { #expect(message.contains(part), "\(message)") }
    #expect(message.contains(folder.path), "\(message)")
  }

  @Test("A name may stand once in the whole folder, not once in a file")
  func duplicatesAcrossFiles() throws {
    let folder = try Folder(["a.yaml": Self.node, "b.yaml": Self.node])
    let error = #expect(throws: LabError.self) {
      _ = try LabInput(directory: folder.path, manifests: ManifestFiles.readDirectory(folder.path))
    }
    let message = "\(try #require(error))"
    #expect(message.contains("b.yaml:3") && message.contains("a.yaml:1"), "\(message)")
  }

  @Test("Files that are too large, no text, no files, or loops")
  func files() throws {
    let folder = try Folder()
    try folder.write("big.yaml", String(repeating: "# padding\n", count: ManifestFiles.maximumFileBytes / 10 + 1))
    try Data([0xff, 0xfe, 0x00]).write(to: URL(fileURLWithPath: "\(folder.path)/bytes.yaml"))
    symlink("\(folder.path)/loop.yaml", "\(folder.path)/loop.yaml")
    mkfifo("\(folder.path)/pipe.yaml", 0o600)
    mkdir("\(folder.path)/folder.yaml", 0o700)
    for (name, reason) in [
      ("big", "larger than 4 MiB"), ("bytes", "isn't UTF-8"), ("loop", "Too many levels"), ("pipe", "no regular file"),
      ("folder", "no regular file"), ("missing", "No such file"),
    ] {
      let error = #expect(throws: LabError.self) { try ManifestFiles.readFile("\(folder.path)/\(name).yaml") }
      let message = "\(try #require(error))"
      #expect(message.contains(reason) && message.contains("\(name).yaml"), "\(message)")
    }
    #expect(throws: LabError.self) { try ManifestFiles.readDirectory("\(folder.path)/nowhere") }
  }

  @Test("Aliases that grow a few lines into millions of values")
  func aliases() throws {
    var yaml = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    for level in 1...9 {
      yaml += "a\(level): &a\(level) [\((0..<10).map { _ in "*a\(level - 1)" }.joined(separator: ","))]\n"
    }
    let folder = try Folder(["bomb.yaml": yaml])
    let error = #expect(throws: LabError.self) { try ManifestFiles.readFile("\(folder.path)/bomb.yaml") }
    let message = "\(try #require(error))"
    #expect(message.contains("more than 200000 values"), "\(message)")
  }

  @Test("Fields that the lab has no use for may stand there")
  func foreignFields() throws {
    let spec = """
        restartPolicy: Always
        volumes: [{name: v, emptyDir: {}}]
        containers:
        - name: c
          image: nginx
          command: [sleep]
          args: [infinity]
          resources: {limits: {cpu: 1}}
          readinessProbe: {tcpSocket: {port: 80}}

      """
    let folder = try Folder(["all.yaml": Self.node + Self.pod(spec, metadata: "name: a, labels: {x: 'true'}")])
    let input = try LabInput(directory: folder.path, manifests: ManifestFiles.readDirectory(folder.path))
    #expect(input.pods.values.first?.containers.first?.command == ["sleep", "infinity"])
  }

  @Test("Which pods are meshed: the pod's label, else its Namespace's")
  func meshed() throws {
    var yaml = Self.node
    yaml += "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {weft.dev/mesh: enabled}}\n---\n"
    for (name, extra) in [
      ("in", "namespace: shop"), ("out", "namespace: shop, labels: {weft.dev/mesh: disabled}"),
      ("alone", "labels: {weft.dev/mesh: enabled}"), ("plain", "namespace: default"),
    ] {
      yaml += Self.pod(Self.run, metadata: "name: \(name), \(extra)") + "---\n"
    }
    let folder = try Folder(["all.yaml": yaml])
    let input = try LabInput(directory: folder.path, manifests: ManifestFiles.readDirectory(folder.path))
    let meshed = input.pods.values.filter { input.isMeshed($0) }.map(\.manifest.key.name).sorted()
    #expect(meshed == ["alone", "in"])
  }
}
