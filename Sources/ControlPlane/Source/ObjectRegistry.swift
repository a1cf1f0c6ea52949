/// Which objects are in force, out of all files: the last good version of each file, and of an object that several
/// files hold the one that was there first. Pure: no file system.
struct ObjectRegistry: Sendable {
  private struct File: Sendable {
    /// What its newest version holds, be it refused or not.
    var latest: DecodedFile
    /// The objects of its last good version.
    var good: [ObjectKey: Claim] = [:]
  }

  private struct Claim: Sendable {
    var object: MeshObject
    var line: Int
  }

  private var files: [String: File] = [:]
  /// The files whose last good version holds the object; the first one's is in force.
  private var claims: [ObjectKey: [String]] = [:]
  private var inForce: [ObjectKey: MeshObject] = [:]
  /// Files of which there is something to say.
  private var noted: Set<String> = []
  /// Objects of all files.
  private(set) var count = 0

  /// Takes new versions of files, and files that are gone (nil), all as one change.
  mutating func update(_ versions: [String: DecodedFile?]) -> [ObjectChange] {
    var touched: Set<ObjectKey> = []
    var good: [String: [ObjectKey: Claim]] = [:]
    for name in versions.keys { count -= files[name]?.latest.entries.count ?? 0 }
    for (name, version) in versions {
      guard let version, version.isRefused else {
        good[name] = Self.claims(of: version)
        continue
      }
      files[name, default: File(latest: version)].latest = version
    }
    // What is given up first, so that an object may move from file to file.
    for (name, new) in good {
      for key in (files[name]?.good ?? [:]).keys where new[key] == nil {
        claims[key]?.removeAll { $0 == name }
        if claims[key]?.isEmpty == true { claims[key] = nil }
        touched.insert(key)
      }
    }
    for (name, new) in good.sorted(by: { $0.key < $1.key }) {
      for key in new.keys {
        if claims[key]?.contains(name) != true { claims[key, default: []].append(name) }
        touched.insert(key)
      }
      if let version = versions[name] ?? nil {
        files[name] = File(latest: version, good: new)
      } else {
        files[name] = nil
      }
    }
    var changes: [ObjectChange] = []
    for key in touched.sorted() {
      if let change = settle(key) { changes.append(change) }
    }
    for name in versions.keys { count += files[name]?.latest.entries.count ?? 0 }
    for name in touched.reduce(into: Set(versions.keys), { $0.formUnion(claims[$1] ?? []) }) {
      let isNoted = statuses(of: name).contains { !$0.accepted || !$0.reason.isEmpty }
      if isNoted { noted.insert(name) } else { noted.remove(name) }
    }
    return changes
  }

  private static func claims(of version: DecodedFile?) -> [ObjectKey: Claim] {
    var claims: [ObjectKey: Claim] = [:]
    for entry in version?.entries ?? [] {
      if case .object(let key, let object, _) = entry.outcome { claims[key] = Claim(object: object, line: entry.line) }
    }
    return claims
  }

  private mutating func settle(_ key: ObjectKey) -> ObjectChange? {
    let object = claims[key]?.first.flatMap { files[$0]?.good[key]?.object }
    guard object != inForce[key] else { return nil }
    inForce[key] = object
    return ObjectChange(key: key, object: object)
  }

  // MARK: Status

  /// How every object of every file fared, in the order of files and lines.
  var statuses: [ObjectStatus] { files.keys.sorted().flatMap { statuses(of: $0) } }

  /// The same where there are no more than `limit` objects; else of those files only of which there is something to say, and
  /// of these objects' own.
  func statuses(listing limit: Int, and keys: some Sequence<ObjectKey>) -> [ObjectStatus] {
    guard count > limit else { return statuses }
    let names = keys.reduce(into: noted) { names, key in
      if let first = claims[key]?.first { names.insert(first) }
    }
    return names.sorted().flatMap { statuses(of: $0) }
  }

  func statuses(of name: String) -> [ObjectStatus] {
    guard let file = files[name] else { return [] }
    let refusal = file.latest.problems.first
    let keeps = file.good.isEmpty ? "" : "; the last good version of the file stays in force"
    return file.latest.entries.map { entry in
      var status = ObjectStatus(
        kind: entry.kind, namespace: entry.namespace, name: entry.name, file: name.isEmpty ? "." : name,
        line: entry.line, accepted: true, reason: "")
      switch entry.outcome {
      case .refused(let problem):
        status.accepted = false
        status.reason = problem.description + keeps
      case _ where refusal != nil:
        status.accepted = false
        status.reason =
          "not applied, because another object of the file is refused: \(refusal?.description ?? "")\(keeps)"
      case .ignored(let reason): status.reason = reason
      case .object(let key, _, let note):
        status.reason = [note, Self.omission(entry)].filter { !$0.isEmpty }.joined(separator: "; ")
        guard let first = claims[key]?.first, first != name else { break }
        status.accepted = false
        let line = files[first]?.good[key].map { ":\($0.line)" } ?? ""
        status.reason =
          "\(name):\(entry.line): \(key) stands in \(first)\(line) too, which was there first; this one is refused"
      }
      return status
    }
  }

  /// Why objects of a file are refused: one sentence for each cause, not for what it takes along.
  func refusals(of name: String) -> [String] {
    guard let file = files[name] else { return [] }
    let problems = file.latest.problems
    guard problems.isEmpty else {
      let keeps = file.good.isEmpty ? "" : "; the last good version of the file stays in force"
      return problems.map { $0.description + keeps }
    }
    return statuses(of: name).filter { !$0.accepted }.map(\.reason)
  }

  /// Why a file of one object is refused, without its place; empty: it isn't.
  func refusal(of name: String) -> String {
    guard let file = files[name], let problem = file.latest.problems.first else { return "" }
    let text = [problem.field, problem.reason].filter { !$0.isEmpty }.joined(separator: ": ")
    return file.good.isEmpty ? text : "\(text); its last good version stays in force"
  }

  /// Whether a file whose newest version is refused has a good one in force.
  func hasLastGood(_ name: String) -> Bool { files[name].map { !$0.good.isEmpty } ?? false }

  func latest(_ name: String) -> DecodedFile? { files[name]?.latest }

  /// What of a file of one object this program doesn't know, and so doesn't apply; empty: nothing.
  func omission(of name: String) -> String {
    files[name]?.latest.entries.first.map(Self.omission) ?? ""
  }

  private static func omission(_ entry: DecodedFile.Entry) -> String {
    guard !entry.unknown.isEmpty else { return "" }
    return "not applied, since this version doesn't know it: \(entry.unknown.joined(separator: ", "))"
  }

  /// Files whose path is none of `present`.
  func missing(from present: Set<String>) -> [String] { files.keys.filter { !present.contains($0) } }
}

/// How an object of a file fared.
public struct ObjectStatus: Hashable, Sendable, Codable {
  /// Kind, namespace and name are empty where the file does not say.
  public var kind: String
  public var namespace: String
  public var name: String
  /// Relative to the configuration folder.
  public var file: String
  public var line: Int
  public var accepted: Bool
  /// Why it is refused, or what of it has no effect.
  public var reason: String
  /// Of a route or a policy: how it fares with each Service or route that it is for.
  public var parents: [ParentStatus]?

  init(
    kind: String, namespace: String, name: String, file: String, line: Int, accepted: Bool, reason: String,
    parents: [ParentStatus]? = nil
  ) {
    self.kind = kind
    self.namespace = namespace
    self.name = name
    self.file = file
    self.line = line
    self.accepted = accepted
    self.reason = reason
    self.parents = parents
  }

  /// Says also in words what of the conditions doesn't hold.
  func with(parents: [ParentStatus]) -> ObjectStatus {
    var status = self
    status.parents = parents
    status.reason = ([reason] + parents.flatMap(\.problems)).filter { !$0.isEmpty }.joined(separator: "; ")
    return status
  }
}
