import KubernetesAPI

/// What an API server has told, as objects: the same rules as for files, with each object as one of its own. Pure.
///
/// Nothing is in force before every kind has been told once, so that a start, or a server that has been away, never shows a
/// part of the mesh; what was told last holds while a server says nothing.
struct KubernetesObjects: Sendable {
  private(set) var registry = ObjectRegistry()
  /// The kinds that haven't been told yet.
  private var awaited = Set(Kind.allCases)
  private var versions: [String: DecodedFile?] = [:]
  private var names: [Kind: Set<String>] = [:]

  /// Whether every kind has been told.
  var isComplete: Bool { awaited.isEmpty }

  /// What a kind's objects came to.
  /// - Returns: the changes that are in force now, and whose statuses are new.
  mutating func take(_ change: ReflectorState.Change, of kind: Kind) -> (changes: [ObjectChange], touched: [String]) {
    switch change {
    case .all(let objects):
      var present: Set<String> = []
      for object in objects { present.insert(set(object, kind)) }
      for name in names[kind, default: []].subtracting(present) { versions[name] = .some(nil) }
      names[kind] = present
      awaited.remove(kind)
    case .changed(let object): names[kind, default: []].insert(set(object, kind))
    case .deleted(let object):
      let name = Self.name(object, kind)
      names[kind]?.remove(name)
      versions[name] = .some(nil)
    }
    guard isComplete else { return ([], []) }
    let touched = versions.keys.sorted()
    defer { versions = [:] }
    return (registry.update(versions), touched)
  }

  private mutating func set(_ object: KubernetesObject, _ kind: Kind) -> String {
    let name = Self.name(object, kind)
    versions[name] = FileDecoder.decode(YAMLNode(object: object.content), of: kind, source: name)
    return name
  }

  /// Stands in the place of a file's name.
  private static func name(_ object: KubernetesObject, _ kind: Kind) -> String {
    "\(kind.rawValue)/\(object.namespace.isEmpty ? "" : "\(object.namespace)/")\(object.name)"
  }
}
