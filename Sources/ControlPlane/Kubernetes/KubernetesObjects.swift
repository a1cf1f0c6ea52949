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
  /// Lists that haven't come to their end.
  private var listed: [Kind: [String: DecodedFile?]] = [:]

  /// Whether every kind has been told.
  var isComplete: Bool { awaited.isEmpty }

  /// The changes that are in force now, and whose statuses are new.
  typealias Outcome = (changes: [ObjectChange], touched: [String])

  /// Takes a part of a list; it counts once the list is whole.
  mutating func take(_ part: ReflectorState.Part, of kind: Kind) -> Outcome {
    if part.isFirst { listed[kind] = [:] }
    for object in part.objects {
      let (name, version) = Self.decode(object, kind)
      listed[kind, default: [:]][name] = .some(version)
    }
    guard part.isLast, let whole = listed.removeValue(forKey: kind) else { return ([], []) }
    for name in names[kind, default: []] where whole[name] == nil { versions[name] = .some(nil) }
    names[kind] = Set(whole.keys)
    versions.merge(whole) { $1 }
    awaited.remove(kind)
    return settle()
  }

  /// What a kind's objects came to.
  mutating func take(_ change: ReflectorState.Change, of kind: Kind) -> Outcome {
    switch change {
    case .all(let objects):
      return take(ReflectorState.Part(objects: objects, isFirst: true, isLast: true), of: kind)
    case .changed(let object):
      let (name, version) = Self.decode(object, kind)
      names[kind, default: []].insert(name)
      versions[name] = .some(version)
    case .deleted(let object):
      let name = Self.name(object, kind)
      names[kind]?.remove(name)
      versions[name] = .some(nil)
    }
    return settle()
  }

  private mutating func settle() -> Outcome {
    guard isComplete else { return ([], []) }
    let touched = versions.keys.sorted()
    defer { versions = [:] }
    return (registry.update(versions), touched)
  }

  private static func decode(_ object: KubernetesObject, _ kind: Kind) -> (String, DecodedFile) {
    let name = name(object, kind)
    return (name, FileDecoder.decode(YAMLNode(object: object.content), of: kind, source: name))
  }

  /// Stands in the place of a file's name.
  private static func name(_ object: KubernetesObject, _ kind: Kind) -> String {
    "\(kind.rawValue)/\(object.namespace.isEmpty ? "" : "\(object.namespace)/")\(object.name)"
  }
}
