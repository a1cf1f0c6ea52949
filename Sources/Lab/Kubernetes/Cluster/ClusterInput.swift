import Foundation
import Yams

/// A folder of Kubernetes objects: its Nodes are simulated, everything else is the API server's to judge.
struct ClusterInput {
  /// With the simulated nodes only.
  let lab: LabInput
  /// What is applied, by file: Nodes as well.
  private(set) var objects: [(file: String, text: String)] = []
  private(set) var images = ImageTable()

  static let imagesFile = "images.yaml"

  /// - Throws: `LabError` naming file, line and field.
  init(directory: String) throws {
    var nodes: [Manifest] = []
    for path in try ManifestFiles.paths(in: directory) {
      let name = path.split(separator: "/").last.map(String.init) ?? path
      let values = try ManifestFiles.values(path)
      if name == Self.imagesFile {
        for value in values { try images.add(Field(file: path, object: value)) }
        continue
      }
      var text = ""
      for value in values {
        let root = Field(file: path, object: value)
        _ = try root["apiVersion"].required(root["apiVersion"].string())
        let kind = try root["kind"].required(root["kind"].string())
        var object = value
        if kind == "Node" {
          let node = try Manifest(value, file: path)
          _ = try LabState.NodeRuntime(node)
          nodes.append(node)
          object = Self.labelled(object, name: node.key.name)
        }
        if kind == "Service" { object = Self.withProtocols(object) }
        text += "---\n\(object.rendered())"
      }
      if !text.isEmpty { objects.append((name, text)) }
    }
    lab = try LabInput(directory: directory, manifests: nodes, checksCommands: false)
  }

  /// Server-side apply of old API servers knows no default for this part of a port's key.
  private static func withProtocols(_ service: YAMLValue) -> YAMLValue {
    var service = service
    guard case .list(let ports)? = service["spec"]?["ports"]?.content else { return service }
    service["spec"]?["ports"] = .list(
      ports.map { port in
        var port = port
        if case .map = port.content, port["protocol"] == nil { port["protocol"] = .string("TCP") }
        return port
      })
    return service
  }

  /// With the labels that a kubelet gives its Node.
  private static func labelled(_ node: YAMLValue, name: String) -> YAMLValue {
    var node = node
    var metadata = node["metadata"] ?? .map([])
    var labels = metadata["labels"] ?? .map([])
    for (key, value) in NodeLabels.own(name) where labels[key] == nil { labels[key] = .string(value) }
    metadata["labels"] = labels
    node["metadata"] = metadata
    return node
  }
}

/// What every kubelet says of its node.
enum NodeLabels {
  static func own(_ name: String) -> [(String, String)] {
    #if arch(arm64)
      let architecture = "arm64"
    #else
      let architecture = "amd64"
    #endif
    return [
      ("kubernetes.io/hostname", name), ("kubernetes.io/os", "linux"), ("kubernetes.io/arch", architecture),
      ("beta.kubernetes.io/os", "linux"), ("beta.kubernetes.io/arch", architecture),
    ]
  }
}
