import KubernetesAPI

/// What applying an object would change in a cluster.
enum ManifestChange: Hashable, Sendable {
  case none
  case new
  /// The paths of what differs, the first of them.
  case changed([String])

  /// What the server keeps by itself, and what others write.
  private static let ignored: Set<String> = [
    "metadata.annotations.deprecated.daemonset.template.generation", "metadata.creationTimestamp",
    "metadata.generation", "metadata.managedFields", "metadata.resourceVersion",
    "metadata.selfLink", "metadata.uid", "status",
  ]
  private static let maximumPaths = 8

  /// - Parameters:
  ///   - live: nil: there is none.
  ///   - applied: what the server would make of it.
  init(live: JSONNode?, applied: JSONNode) {
    guard let live else {
      self = .new
      return
    }
    var paths: [String] = []
    Self.compare(live, applied, "", &paths)
    self = paths.isEmpty ? .none : .changed(Array(paths.prefix(Self.maximumPaths)))
  }

  private static func compare(_ left: JSONNode?, _ right: JSONNode?, _ path: String, _ paths: inout [String]) {
    guard left != right, !ignored.contains(path), paths.count < maximumPaths else { return }
    switch (left, right) {
    case (.object(let old), .object(let new)):
      let keys = Set(old.map(\.key)).union(new.map(\.key)).sorted()
      for key in keys { compare(left?[key], right?[key], path.isEmpty ? key : "\(path).\(key)", &paths) }
    case (.array(let old), .array(let new)) where old.count == new.count:
      for index in old.indices { compare(old[index], new[index], "\(path)[\(index)]", &paths) }
    default: paths.append(path)
    }
  }

  func line(_ identity: Manifest.Identity) -> String? {
    switch self {
    case .none: nil
    case .new: "new      \(identity)"
    case .changed(let paths): "changed  \(identity): \(paths.joined(separator: ", "))"
    }
  }
}

/// Which objects of an earlier version are no longer part of an installation.
enum Pruning {
  /// What weft-control makes: the roots, without which no agent starts. They carry the label of an installation, and go with
  /// it alone.
  static let made: Set<Manifest.Identity> = [
    Manifest.Identity(kind: .configMap, namespace: Rendering.namespace, name: "weft-roots")
  ]

  /// - Parameter found: the labelled objects in the cluster.
  /// - Returns: what is to be deleted, in that order. Definitions stay: with them their objects would go.
  static func surplus(of found: [Manifest.Identity], wanted: [Manifest]) -> [Manifest.Identity] {
    let kept = made.union(wanted.map(\.identity))
    return found.filter { !kept.contains($0) && $0.kind != .customResourceDefinition && $0.kind != .namespace }
      .sorted { $1 < $0 }
  }
}
