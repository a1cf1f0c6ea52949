import MeshModel

/// What a file holds, object by object.
struct DecodedFile: Sendable {
  var entries: [Entry] = []

  struct Entry: Sendable {
    /// As written; empty where the file does not say.
    var kind: String
    var namespace: String
    var name: String
    var line: Int
    var outcome: Outcome
    /// Fields of an API server's object that this program doesn't know, and so doesn't apply.
    var unknown: [String] = []
  }

  enum Outcome: Sendable {
    /// `note`: what of the object has no effect; empty if none.
    case object(ObjectKey, MeshObject, note: String)
    case ignored(reason: String)
    case refused(ConfigProblem)
  }

  /// A file with one refused object is refused whole.
  var isRefused: Bool { !problems.isEmpty }

  var problems: [ConfigProblem] {
    entries.compactMap { entry in
      if case .refused(let problem) = entry.outcome { problem } else { nil }
    }
  }

  static func refused(_ problem: ConfigProblem) -> DecodedFile {
    DecodedFile(entries: [
      Entry(kind: "", namespace: "", name: "", line: problem.line ?? 1, outcome: .refused(problem))
    ])
  }
}

/// Decodes a file of objects: YAML documents or JSON, `List`s taken apart.
struct FileDecoder {
  /// Objects of one file.
  static let maximumObjects = 100_000

  private let file: String
  private var decoded = DecodedFile()
  private var seen: [ObjectKey: Int] = [:]

  static func decode(_ bytes: [UInt8], file: String) -> DecodedFile {
    do {
      let documents = try YAMLReader.documents(in: bytes, file: file)
      var decoder = FileDecoder(file: file)
      for document in documents { decoder.decode(document, impliedKind: nil) }
      return decoder.decoded
    } catch {
      return .refused(error)
    }
  }

  /// Decodes one object of a kind that an API server has told, and so has checked.
  /// - Parameter source: what stands for the file in complaints.
  static func decode(_ object: YAMLNode, of kind: Kind, source: String) -> DecodedFile {
    var decoder = FileDecoder(file: source, isFromServer: true)
    decoder.decode(object, impliedKind: kind.rawValue)
    return decoder.decoded
  }

  private let isFromServer: Bool

  private init(file: String, isFromServer: Bool = false) {
    self.file = file
    self.isFromServer = isFromServer
  }

  private mutating func decode(_ node: YAMLNode, impliedKind: String?) {
    let peek = Peek(node, impliedKind: impliedKind)
    let owner = Field.Owner(file: file, label: peek.label, toleratesUnknown: isFromServer)
    let root = Field(root: node, owner: owner)
    do {
      if impliedKind == nil, let items = peek.listItems {
        try decodeList(root, itemKind: items)
        return
      }
      let outcome = try outcome(root, peek)
      let more = owner.furtherUnknown > 0 ? ["\(owner.furtherUnknown) more"] : []
      add(peek, node, outcome, unknown: owner.unknown + more)
    } catch {
      add(peek, node, .refused(error))
    }
  }

  private mutating func add(
    _ peek: Peek, _ node: YAMLNode, _ outcome: DecodedFile.Outcome, unknown: [String] = []
  ) {
    guard decoded.entries.count < Self.maximumObjects else {
      let problem = ConfigProblem(file: file, reason: "more than \(Self.maximumObjects) objects in one file")
      decoded.entries[0].outcome = .refused(problem)
      return
    }
    var entry = DecodedFile.Entry(
      kind: peek.kind, namespace: peek.namespace, name: peek.name, line: node.line, outcome: outcome,
      unknown: unknown)
    if case .object(let key, _, _) = outcome { entry.namespace = key.name.namespace }
    decoded.entries.append(entry)
  }

  private mutating func decodeList(_ root: Field, itemKind: String) throws(ConfigProblem) {
    let fields = try root.fields(Schemas.list)
    _ = try fields["metadata"]?.fields(Schemas.listMetadata)
    for item in try fields.list("items") { decode(item.node, impliedKind: itemKind) }
  }

  private mutating func outcome(_ root: Field, _ peek: Peek) throws(ConfigProblem) -> DecodedFile.Outcome {
    guard case .mapping = root.node.content else { throw root.expected("an object") }
    guard !peek.kind.isEmpty else { throw (root.entry("kind") ?? root).problem("has no kind") }
    guard let kind = Kind(rawValue: peek.kind) else {
      if Kind.unused.contains(peek.kind) { return .ignored(reason: "ignored: Weft has no use for \(peek.kind)") }
      guard !Kind.unsupported.contains(peek.kind) else {
        throw (root.entry("kind") ?? root).problem("\(peek.kind) is not supported yet")
      }
      let known = Kind.allCases.map(\.rawValue).joined(separator: ", ")
      throw (root.entry("kind") ?? root).problem("\"\(peek.kind.prefix(64))\" is not a kind that Weft knows: \(known)")
    }
    if let version = root.entry("apiVersion") {
      let text = try version.text()
      guard kind.apiVersions.contains(text) else {
        throw version.expected("\(kind.apiVersions.joined(separator: " or ")), where \(kind.rawValue) belongs")
      }
    } else if !peek.isListItem {
      throw root.problem("has no apiVersion; a \(kind.rawValue) has \(kind.apiVersions[0])")
    }
    let (object, name, note) = try ObjectDecoder(root: root, kind: kind).decode()
    let key = ObjectKey(kind: kind, name: name)
    if let line = seen.updateValue(root.node.line, forKey: key) {
      throw root.problem("stands twice in this file; first on line \(line)")
    }
    return .object(key, object, note: note)
  }
}

/// Who an object says it is, read before anything is checked, so that complaints can name it.
private struct Peek {
  var kind = ""
  var namespace = ""
  var name = ""
  var isListItem: Bool

  init(_ node: YAMLNode, impliedKind: String?) {
    isListItem = impliedKind != nil
    kind = Self.text("kind", in: node) ?? impliedKind ?? ""
    guard let metadata = Self.value("metadata", in: node) else { return }
    namespace = Self.text("namespace", in: metadata) ?? ""
    name = Self.text("name", in: metadata) ?? ""
  }

  /// The kind of a list's items where they don't say; empty where they must. nil if this is no list.
  var listItems: String? {
    guard kind.hasSuffix("List") else { return nil }
    let item = String(kind.dropLast(4))
    return item.isEmpty || Kind(rawValue: item) != nil || Kind.unused.contains(item) ? item : nil
  }

  var label: String {
    guard !kind.isEmpty, !name.isEmpty else { return kind }
    let isClusterScoped = Kind(rawValue: kind)?.isClusterScoped ?? namespace.isEmpty
    let space = isClusterScoped ? "" : "\(namespace.isEmpty ? "default" : namespace)/"
    return "\(kind.prefix(64)) \(space)\(name)".prefix(400).description
  }

  private static func value(_ key: String, in node: YAMLNode) -> YAMLNode? {
    guard case .mapping(let pairs) = node.content else { return nil }
    return pairs.first { $0.key == key }?.value
  }

  private static func text(_ key: String, in node: YAMLNode) -> String? {
    guard let value = value(key, in: node), case .scalar(let text, _) = value.content, !value.isNull else { return nil }
    return text
  }
}
