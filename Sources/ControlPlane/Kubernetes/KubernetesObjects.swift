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
  private var lastGood = LastGood()
  private var awaitsKept: Bool

  /// - Parameter awaitsKept: whether nothing is in force before `take(kept:)` either.
  init(awaitsKept: Bool = false) { self.awaitsKept = awaitsKept }

  /// Whether every kind has been told.
  var isComplete: Bool { awaited.isEmpty && !awaitsKept }

  /// Whether all that is missing is what is kept of refused objects.
  var hasEveryKind: Bool { awaited.isEmpty }

  /// Last good versions that other replicas are to know, by UID.
  var keeps: [String: String] { isComplete ? lastGood.wanted : [:] }

  /// The changes that are in force now, and whose statuses are new.
  typealias Outcome = (changes: [ObjectChange], touched: [String])

  /// Takes a part of a list; it counts once the list is whole.
  mutating func take(_ part: ReflectorState.Part, of kind: Kind) -> Outcome {
    if part.isFirst { listed[kind] = [:] }
    for object in part.objects {
      let (name, version) = Self.decode(object, kind)
      listed[kind, default: [:]][name] = .some(version)
      note(object, kind, name, version)
    }
    guard part.isLast, let whole = listed.removeValue(forKey: kind) else { return ([], []) }
    for name in names[kind, default: []] where whole[name] == nil {
      versions[name] = .some(nil)
      lastGood.forget(name)
    }
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
      note(object, kind, name, version)
    case .deleted(let object):
      let name = Self.name(object, kind)
      names[kind]?.remove(name)
      subjects[Self.key(object, kind)] = nil
      lastGood.forget(name)
      versions[name] = .some(nil)
    }
    return settle()
  }

  /// Takes the last good versions that are kept for every replica, by UID.
  mutating func take(kept: [String: String]) -> Outcome {
    lastGood.read(kept)
    awaitsKept = false
    for name in lastGood.refused.keys where versions[name] == nil && !registry.hasLastGood(name) {
      if let latest = registry.latest(name) { versions[name] = .some(latest) }
    }
    return settle()
  }

  private mutating func settle() -> Outcome {
    guard isComplete else { return ([], []) }
    let touched = versions.keys.sorted()
    defer { versions = [:] }
    let restored = restoreLastGood()
    return (restored + registry.update(versions), touched)
  }

  /// Of what is refused and was never seen good here, the version that is kept comes first.
  private mutating func restoreLastGood() -> [ObjectChange] {
    var restored: [String: DecodedFile?] = [:]
    for name in lastGood.refused.keys where versions[name] != nil && !registry.hasLastGood(name) {
      guard let kind = name.split(separator: "/").first.flatMap({ Kind(rawValue: String($0)) }),
        let object = lastGood.restore(name)
      else { continue }
      let (found, version) = Self.decode(object, kind)
      if found == name, !version.isRefused { restored[name] = .some(version) }
    }
    return restored.isEmpty ? [] : registry.update(restored)
  }

  private mutating func note(_ object: KubernetesObject, _ kind: Kind, _ name: String, _ version: DecodedFile) {
    if kind.isEdited { lastGood.note(object, name, isRefused: version.isRefused) }
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
