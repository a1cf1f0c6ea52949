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
  /// The objects that get a status, refused ones too.
  private(set) var subjects: [ObjectKey: StatusSubject] = [:]

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
      note(object, kind)
    }
    guard part.isLast, let whole = listed.removeValue(forKey: kind) else { return ([], []) }
    for name in names[kind, default: []] where whole[name] == nil { versions[name] = .some(nil) }
    names[kind] = Set(whole.keys)
    if kind.getsStatus { subjects = subjects.filter { $0.key.kind != kind || whole[Self.name($0.key)] != nil } }
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
      note(object, kind)
    case .deleted(let object):
      let name = Self.name(object, kind)
      names[kind]?.remove(name)
      subjects[Self.key(object, kind)] = nil
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

  private mutating func note(_ object: KubernetesObject, _ kind: Kind) {
    guard kind.getsStatus, let subject = StatusSubject(object.content, kind) else { return }
    subjects[Self.key(object, kind)] = subject
  }

  private static func decode(_ object: KubernetesObject, _ kind: Kind) -> (String, DecodedFile) {
    let name = name(object, kind)
    return (name, FileDecoder.decode(YAMLNode(object: object.content), of: kind, source: name))
  }

  /// How every object that gets a status fares by itself.
  var statusInputs: [StatusInput] {
    subjects.map { input($0, $1) }
  }

  /// How one fares by itself.
  func input(_ key: ObjectKey, _ subject: StatusSubject) -> StatusInput {
    let name = Self.name(key)
    return StatusInput(
      key: key, subject: subject, refusal: registry.refusal(of: name), omission: registry.omission(of: name))
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
