import Yams

/// A YAML value without aliases, and the line that it stands on.
///
/// Scalars follow the YAML 1.2 core schema, as Kubernetes reads them: `yes` and `12:30` are strings.
struct YAMLValue: Sendable {
  enum Content: Sendable {
    case null
    case bool(Bool)
    case int(Int)
    case number(String)
    case string(String)
    case list([YAMLValue])
    case map([(key: String, value: YAMLValue)])
  }

  var content: Content
  /// From 1; 0 for a value that was not read from a file.
  var line: Int

  init(_ content: Content, line: Int = 0) {
    self.content = content
    self.line = line
  }

  static func string(_ text: String) -> Self { Self(.string(text)) }
  static func int(_ value: Int) -> Self { Self(.int(value)) }
  static func list(_ values: [YAMLValue]) -> Self { Self(.list(values)) }
  static func map(_ pairs: [(key: String, value: YAMLValue)]) -> Self { Self(.map(pairs)) }

  /// The value of a map's key; nil where absent or where this is no map. Setting nil removes the key.
  subscript(key: String) -> YAMLValue? {
    get {
      guard case .map(let pairs) = content else { return nil }
      return pairs.first { $0.key == key }?.value
    }
    set {
      var pairs: [(key: String, value: YAMLValue)] = []
      if case .map(let present) = content { pairs = present }
      if let index = pairs.firstIndex(where: { $0.key == key }) {
        if let newValue { pairs[index].value = newValue } else { pairs.remove(at: index) }
      } else if let newValue {
        pairs.append((key, newValue))
      }
      content = .map(pairs)
    }
  }

  var kindName: String {
    switch content {
    case .null: "nothing"
    case .bool(let value): "the boolean \(value)"
    case .int(let value): "the number \(value)"
    case .number(let text): "the number \(text)"
    case .string(let text): "the string \"\(text.prefix(60))\""
    case .list: "a list"
    case .map: "a map"
    }
  }
}

extension YAMLValue {
  /// Aliases are copied out: this bounds what a few lines can grow to.
  static let maximumNodes = 200_000

  /// - Throws: `LabError` naming the line where a key is no string or the document grows past `maximumNodes`.
  init(_ node: Yams.Node) throws {
    var budget = Self.maximumNodes
    try self.init(node, budget: &budget)
  }

  private init(_ node: Yams.Node, budget: inout Int) throws {
    let line = node.mark?.line ?? 0
    budget -= 1
    guard budget > 0 else { throw LabError("line \(line): more than \(Self.maximumNodes) values in one object") }
    switch node {
    case .scalar(let scalar):
      self.init(Self.resolve(scalar, isString: node.tag == Tag(.str)), line: line)
    case .sequence(let sequence):
      self.init(.list(try sequence.map { try YAMLValue($0, budget: &budget) }), line: line)
    case .mapping(let mapping):
      var pairs: [(key: String, value: YAMLValue)] = []
      pairs.reserveCapacity(mapping.count)
      for (key, value) in mapping {
        guard case .scalar(let scalar) = key else { throw LabError("line \(line): a key must be a string") }
        pairs.append((scalar.string, try YAMLValue(value, budget: &budget)))
      }
      self.init(.map(pairs), line: line)
    case .alias: throw LabError("line \(line): an alias without its anchor")
    }
  }

  private static func resolve(_ scalar: Yams.Node.Scalar, isString: Bool) -> Content {
    let text = scalar.string
    if isString || scalar.style != .plain && scalar.style != .any { return .string(text) }
    switch text {
    case "", "~", "null", "Null", "NULL": return .null
    case "true", "True", "TRUE": return .bool(true)
    case "false", "False", "FALSE": return .bool(false)
    default: break
    }
    let isNumeric = text.utf8.allSatisfy { byte in
      (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "+-.eE".utf8.contains(byte)
    }
    if isNumeric, let value = Int(text) { return .int(value) }
    if isNumeric, Double(text) != nil { return .number(text) }
    return .string(text)
  }
}

extension YAMLValue {
  /// Block YAML that any YAML 1.1 or 1.2 reader takes for the same value: strings are always quoted.
  func rendered() -> String {
    var text = ""
    write(to: &text, indent: 0, inline: false)
    return text
  }

  private func write(to text: inout String, indent: Int, inline: Bool) {
    let margin = String(repeating: " ", count: indent)
    switch content {
    case .null: text += "null\n"
    case .bool(let value): text += "\(value)\n"
    case .int(let value): text += "\(value)\n"
    case .number(let number): text += "\(number)\n"
    case .string(let string): text += Self.quoted(string) + "\n"
    case .list(let values) where values.isEmpty: text += "[]\n"
    case .map(let pairs) where pairs.isEmpty: text += "{}\n"
    case .list(let values):
      if inline { text += "\n" }
      for value in values {
        text += "\(margin)- "
        if case .map(let pairs) = value.content, !pairs.isEmpty {
          value.writePairs(pairs, to: &text, indent: indent + 2, firstMargin: "")
        } else {
          value.write(to: &text, indent: indent + 2, inline: true)
        }
      }
    case .map(let pairs):
      if inline { text += "\n" }
      writePairs(pairs, to: &text, indent: indent, firstMargin: margin)
    }
  }

  private func writePairs(
    _ pairs: [(key: String, value: YAMLValue)], to text: inout String, indent: Int, firstMargin: String
  ) {
    for (index, pair) in pairs.enumerated() {
      text += index == 0 ? firstMargin : String(repeating: " ", count: indent)
      text += Self.isPlainKey(pair.key) ? pair.key : Self.quoted(pair.key)
      text += pair.value.isBlock ? ":" : ": "
      pair.value.write(to: &text, indent: indent + 2, inline: true)
    }
  }

  /// Whether it is written on lines of its own.
  private var isBlock: Bool {
    switch content {
    case .list(let values): !values.isEmpty
    case .map(let pairs): !pairs.isEmpty
    default: false
    }
  }

  private static func isPlainKey(_ key: String) -> Bool {
    guard let first = key.unicodeScalars.first, first.properties.isAlphabetic, first.isASCII else { return false }
    let reserved = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
    return !reserved.contains(key.lowercased())
      && key.unicodeScalars.allSatisfy {
        $0.isASCII && ($0.properties.isAlphabetic || "0123456789./-_".unicodeScalars.contains($0))
      }
  }

  private static func quoted(_ string: String) -> String {
    var text = "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\t": text += "\\t"
      case _
      where scalar.value < 0x20 || scalar.value == 0x7f || scalar.value == 0x85 || scalar.value == 0xfeff
        || scalar.value == 0x2028 || scalar.value == 0x2029:
        let hex = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: text.unicodeScalars.append(scalar)
      }
    }
    return text + "\""
  }
}
