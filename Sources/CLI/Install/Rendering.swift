import KubernetesAPI
import MeshModel
import Yams

/// What is to be installed, and the objects that it is.
struct Rendering: Hashable, Sendable {
  static let namespace = "weft-system"
  /// Owns the fields that are applied.
  static let manager = "weft"
  /// Of every object of an installation.
  static let label = "app.kubernetes.io/part-of"
  static let labelValue = "weft"
  /// The ConfigMap that says how it was installed: an upgrade begins with that.
  static let record = "weft-installation"

  var overlay = Overlay.standard
  var values = InstallValues()
  var server = ServerVersion.current

  /// In the order in which they are applied.
  func manifests() throws -> [Manifest] {
    var manifests = try overlay.manifests()
    values.apply(to: &manifests)
    if let record = Manifest(recordContent) { manifests.append(record) }
    return manifests.map { $0.adapted(to: server) }.sorted { $0.identity < $1.identity }
  }

  private var recordContent: JSONNode {
    [
      "apiVersion": "v1", "kind": "ConfigMap",
      "metadata": [
        "name": .text(Self.record), "namespace": .text(Self.namespace),
        "labels": [Self.label: .text(Self.labelValue), "app.kubernetes.io/version": .text(WeftVersion.current)],
      ],
      "data": [
        "version": .text(WeftVersion.current), "overlay": .text(overlay.rawValue),
        "values": .text(values.lines.joined(separator: "\n")),
      ],
    ]
  }

  /// As `kubectl apply -f -` takes them.
  func yaml() throws -> String {
    try manifests().map { "---\n" + (try Self.yaml($0.content)) }.joined()
  }

  static func yaml(_ content: JSONNode) throws -> String {
    try Yams.serialize(node: node(content), width: 120, allowUnicode: true)
  }

  private static func node(_ value: JSONNode) throws -> Node {
    switch value {
    case .null: Node("null", Tag(.null))
    case .truth(let truth): try truth.represented()
    case .number(let text): Node(text, Tag(text.contains { ".eE".contains($0) } ? .float : .int))
    // Quoted where plain it would be read as something else.
    case .text(let text): try text.represented()
    case .array(let elements): Node(try elements.map(node), Tag(.seq))
    case .object(let members): Node(try members.map { (Node($0.key, Tag(.str)), try node($0.value)) }, Tag(.map))
    }
  }
}
