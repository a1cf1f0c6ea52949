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
  /// The objects that get a status, refused ones too.
  private(set) var subjects: [ObjectKey: StatusSubject] = [:]

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
      if kind.getsStatus {
        let keys = Set(objects.map { Self.key($0, kind) })
        subjects = subjects.filter { $0.key.kind != kind || keys.contains($0.key) }
      }
      names[kind] = present
      awaited.remove(kind)
    case .changed(let object): names[kind, default: []].insert(set(object, kind))
    case .deleted(let object):
      let name = Self.name(object, kind)
      names[kind]?.remove(name)
      subjects[Self.key(object, kind)] = nil
      versions[name] = .some(nil)
    }
    guard isComplete else { return ([], []) }
    let touched = versions.keys.sorted()
    defer { versions = [:] }
    return (registry.update(versions), touched)
  }

  private mutating func set(_ object: KubernetesObject, _ kind: Kind) -> String {
    let name = Self.name(object, kind)
    if let subject = StatusSubject(object.content, kind) { subjects[Self.key(object, kind)] = subject }
    versions[name] = FileDecoder.decode(YAMLNode(object: object.content), of: kind, source: name)
    return name
  }

  /// How every object that gets a status fares by itself.
  var statusInputs: [StatusInput] {
    subjects.map { key, subject in
      StatusInput(key: key, subject: subject, refusal: registry.refusal(of: Self.name(key)))
    }
  }

  /// All that are refused.
  var refused: [(key: ObjectKey, reason: String)] { refusals(names.values.flatMap { $0 }) }

  /// Of the objects of these names those that are refused.
  func refusals(_ names: [String]) -> [(key: ObjectKey, reason: String)] {
    names.compactMap { name in
      let reason = registry.refusal(of: name)
      let parts = name.split(separator: "/").map(String.init)
      guard !reason.isEmpty, let kind = parts.first.flatMap({ Kind(rawValue: $0) }), parts.count > 1 else {
        return nil
      }
      return (ObjectKey(kind: kind, name: ObjectName(parts.count > 2 ? parts[1] : "", parts[parts.count - 1])), reason)
    }
  }

  static func key(_ object: KubernetesObject, _ kind: Kind) -> ObjectKey {
    ObjectKey(kind: kind, name: ObjectName(object.namespace, object.name))
  }

  static func name(_ key: ObjectKey) -> String { "\(key.kind.rawValue)/\(key.name)" }

  /// Stands in the place of a file's name.
  private static func name(_ object: KubernetesObject, _ kind: Kind) -> String {
    name(key(object, kind))
  }
}
