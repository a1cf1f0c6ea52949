import KubernetesAPI

/// An object to apply.
struct Manifest: Hashable, Sendable {
  /// What it is, whatever it holds.
  struct Identity: Hashable, Sendable, Comparable, CustomStringConvertible {
    var kind: InstallKind
    var namespace: String
    var name: String

    var description: String { "\(kind.rawValue) \(namespace.isEmpty ? name : "\(namespace)/\(name)")" }

    static func < (left: Identity, right: Identity) -> Bool {
      (left.kind, left.namespace, left.name) < (right.kind, right.namespace, right.name)
    }
  }

  var identity: Identity
  var content: JSONNode

  /// nil where it is none of the kinds that an installation is made of.
  init?(_ content: JSONNode) {
    guard let kind = content["kind"]?.text.flatMap(InstallKind.init), let name = content["metadata"]?["name"]?.text
    else { return nil }
    identity = Identity(kind: kind, namespace: content["metadata"]?["namespace"]?.text ?? "", name: name)
    self.content = content
  }

  /// In the version that the content says.
  var resource: KubernetesResource {
    let version = content["apiVersion"]?.text?.split(separator: "/").last.map(String.init) ?? "v1"
    return identity.kind.resource(version: version)
  }

  /// Of a Deployment or a DaemonSet.
  mutating func editContainers(_ change: (inout JSONNode) -> Void) {
    for list in ["initContainers", "containers"] {
      content.editElements(["spec", "template", "spec", list], change)
    }
  }
}

/// What is installed where nothing else is said; its folder is deploy/base, or one of deploy/overlays.
enum Overlay: String, CaseIterable, Sendable {
  case standard
  case small
  case highAvailability = "high-availability"
  case stubOnly = "stub-only"

  private var numbers: [Int] {
    switch self {
    case .standard: Manifests.standard
    case .small: Manifests.small
    case .highAvailability: Manifests.highAvailability
    case .stubOnly: Manifests.stubOnly
    }
  }

  var hasAgents: Bool { self != .stubOnly }

  /// In the order in which they are applied.
  func manifests() throws -> [Manifest] {
    try numbers.map { number in
      guard let manifest = Manifest(try JSONReader.read(Manifests.documents[number].utf8)) else {
        throw Failure(message: "This program's manifest \(number) is of no known kind.", status: .unhealthy)
      }
      return manifest
    }.sorted { $0.identity < $1.identity }
  }
}
