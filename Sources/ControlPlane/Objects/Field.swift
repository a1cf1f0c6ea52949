import MeshModel

/// A field of an object under decoding: its value and its path, so that every complaint can say where.
struct Field {
  /// What all fields of one object share.
  final class Owner {
    let file: String
    /// `Pod shop/cart`, as far as it is known.
    var label: String
    /// An API server's objects may have fields that are newer than this program, and have none that are misspelt.
    let toleratesUnknown: Bool
    /// The paths of those that were found; the first of them, as many as a person reads.
    private(set) var unknown: [String] = []
    private static let maximumUnknown = 8
    /// How many there were beyond.
    private(set) var furtherUnknown = 0
    private static let maximumPath = 128

    init(file: String, label: String, toleratesUnknown: Bool = false) {
      self.file = file
      self.label = label
      self.toleratesUnknown = toleratesUnknown
    }

    func tolerate(_ field: Field) {
      guard unknown.count < Self.maximumUnknown else { return furtherUnknown += 1 }
      unknown.append(String(field.path.text.prefix(Self.maximumPath)))
    }
  }

  /// Spelled out only for a complaint.
  private indirect enum Path {
    case root
    case key(Path, String)
    case index(Path, Int)

    var text: String {
      switch self {
      case .root: ""
      case .key(.root, let key): key
      case .key(let parent, let key) where key.contains(".") || key.contains("/"): "\(parent.text)[\"\(key)\"]"
      case .key(let parent, let key): "\(parent.text).\(key)"
      case .index(let parent, let index): "\(parent.text)[\(index)]"
      }
    }
  }

  let node: YAMLNode
  let owner: Owner
  /// An API server has told it, and so has checked it by rules of its own.
  var isFromServer: Bool { owner.toleratesUnknown }
  private let path: Path

  init(root: YAMLNode, owner: Owner) {
    self.init(node: root, owner: owner, path: .root)
  }

  private init(node: YAMLNode, owner: Owner, path: Path) {
    self.node = node
    self.owner = owner
    self.path = path
  }

  func problem(_ reason: String) -> ConfigProblem {
    ConfigProblem(
      file: owner.file, line: node.line, column: node.column, object: owner.label, field: path.text, reason: reason)
  }

  func expected(_ what: String) -> ConfigProblem {
    problem(node.isNull ? "is empty, not \(what)" : "\(node.summary) is not \(what)")
  }

  /// The fields of a map; any name outside the schema is refused.
  func fields(_ schema: Schema) throws(ConfigProblem) -> Fields {
    let pairs = try pairs("a map of fields")
    var fields = Fields(parent: self)
    for pair in pairs {
      if schema.read.contains(pair.key) {
        if !pair.value.isNull { fields.values[pair.key] = child(pair) }
      } else if schema.ignored.contains(pair.key) {
        continue
      } else if owner.toleratesUnknown {
        owner.tolerate(child(pair))
      } else {
        throw ConfigProblem(
          file: owner.file, line: pair.line, column: pair.column, object: owner.label, field: child(pair).path.text,
          reason: schema.unknown(pair.key))
      }
    }
    return fields
  }

  /// The named fields of a map whose other fields may be anything (`status`).
  func fields(only names: Set<String>) throws(ConfigProblem) -> Fields {
    var fields = Fields(parent: self)
    for pair in try pairs("a map of fields") where names.contains(pair.key) && !pair.value.isNull {
      fields.values[pair.key] = child(pair)
    }
    return fields
  }

  func list() throws(ConfigProblem) -> [Field] {
    guard case .sequence(let nodes) = node.content else { throw expected("a list") }
    return nodes.enumerated().map { Field(node: $1, owner: owner, path: .index(path, $0)) }
  }

  func text() throws(ConfigProblem) -> String {
    guard case .scalar(let text, let isPlain) = node.content else { throw expected("text") }
    guard isPlain else { return text }
    switch PlainScalar(text) {
    case .text: return text
    case .null: throw expected("text")
    case .truth: throw problem("\(text) is a truth value, not text: put it into quotes")
    case .number: throw problem("\(text) is a number, not text: put it into quotes")
    }
  }

  func truth() throws(ConfigProblem) -> Bool {
    if case .scalar(let text, isPlain: true) = node.content, case .truth(let value) = PlainScalar(text) {
      return value
    }
    throw expected("true or false")
  }

  func port() throws(ConfigProblem) -> UInt16 {
    if case .scalar(let text, isPlain: true) = node.content, let port = UInt16(text), port > 0 { return port }
    throw expected("a port (1 to 65535)")
  }

  /// A port's number, or the name of a container's port (IANA service name, RFC 6335 §5.1).
  func portOrName() throws(ConfigProblem) -> PortReference {
    guard case .scalar(let text, let isPlain) = node.content else {
      throw expected("a port (1 to 65535) or a port's name")
    }
    if isPlain, PlainScalar(text) != .text { return .number(try port()) }
    guard text.utf8.count <= 63, DNSName.isLabel(text) else {
      throw expected("a port (1 to 65535) or a port's name (1 to 63 of a-z, 0-9 and -)")
    }
    return .name(text)
  }

  func address() throws(ConfigProblem) -> IPAddress {
    let text = try text()
    guard let address = IPAddress(text), !address.isUnspecified else { throw expected("an IP address") }
    return address
  }

  /// One of `names`, whose values are kept beside them.
  func choice<Value>(_ names: KeyValuePairs<String, Value>) throws(ConfigProblem) -> Value {
    let text = try text()
    guard let found = names.first(where: { $0.key == text }) else {
      throw expected("one of \(names.map(\.key).joined(separator: ", "))")
    }
    return found.value
  }

  /// An RFC 1123 label.
  func label() throws(ConfigProblem) -> String {
    let text = try text()
    guard DNSName.isLabel(text) else { throw expected("a name of 1 to 63 of a-z, 0-9 and - (not at an end)") }
    return text
  }

  /// RFC 1123 labels joined by dots.
  func subdomain() throws(ConfigProblem) -> String {
    let text = try text()
    guard DNSName.isSubdomain(text) else {
      throw expected("a name of 1 to 253 of a-z, 0-9, - and . (each part with a letter or digit at its ends)")
    }
    return text
  }

  /// A map of text to text: labels and selectors.
  func textMap() throws(ConfigProblem) -> [String: String] {
    var map: [String: String] = [:]
    for pair in try pairs("a map of names to text") {
      map[pair.key] = pair.value.isNull ? "" : try child(pair).text()
    }
    return map
  }

  /// The value under one key of a map, to complain about it.
  func entry(_ key: String) -> Field? {
    guard case .mapping(let pairs) = node.content else { return nil }
    return pairs.first { $0.key == key }.map(child)
  }

  private func pairs(_ what: String) throws(ConfigProblem) -> [YAMLPair] {
    guard case .mapping(let pairs) = node.content else { throw expected(what) }
    return pairs
  }

  private func child(_ pair: YAMLPair) -> Field {
    Field(node: pair.value, owner: owner, path: .key(path, pair.key))
  }
}

/// A map's fields that were read; empty ones count as absent, as in Kubernetes.
struct Fields {
  let parent: Field
  fileprivate(set) var values: [String: Field] = [:]

  subscript(name: String) -> Field? { values[name] }

  func required(_ name: String) throws(ConfigProblem) -> Field {
    guard let field = values[name] else { throw parent.problem("has no \(name)") }
    return field
  }

  func list(_ name: String) throws(ConfigProblem) -> [Field] {
    guard let field = values[name] else { return [] }
    return try field.list()
  }
}

/// A Service's target, or a probe's: the workload's own port.
enum PortReference: Hashable, Sendable {
  case number(UInt16)
  case name(String)
}
