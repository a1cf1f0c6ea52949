import Injection
import KubernetesAPI
import Yams

/// A file for `kubectl apply`: YAML documents, or one of JSON. Steps are carried out on the text's own tree, so that what
/// they don't touch keeps its order and its way of writing; comments are lost.
struct ManifestText {
  /// Values of one file, aliases expanded.
  static let maximumValues = 1_000_000
  static let maximumDepth = 128

  private enum Document {
    case json(JSONNode)
    case yaml(Node)
  }

  private var documents: [Document]
  /// The documents as values.
  private(set) var values: [JSONNode]

  /// - Throws: `Failure`, with the line where it can't be read.
  init(_ text: String) throws {
    if text.utf8.first(where: { $0 > 0x20 }) == UInt8(ascii: "{"), let node = try? JSONReader.read(text.utf8) {
      documents = [.json(node)]
      values = [node]
      return
    }
    (documents, values) = ([], [])
    var count = 0
    do {
      // A `for` would end without a word where the text can't be read.
      var nodes = try compose_all(yaml: text)
      while let node = nodes.next() {
        let value = try Self.value(of: node, depth: 0, &count)
        guard value != .null else { continue }
        documents.append(.yaml(node))
        values.append(value)
      }
      if let error = nodes.error { throw error }
    } catch let error as YamlError {
      throw Failure(message: "it is no YAML: \(error)", status: .usage)
    }
  }

  private static func value(of node: Node, depth: Int, _ count: inout Int) throws -> JSONNode {
    count += 1
    guard count <= maximumValues, depth <= maximumDepth else {
      throw Failure(
        message: "it has more than \(maximumValues) values, or more than \(maximumDepth) inside one another",
        status: .usage)
    }
    switch node {
    case .mapping(let mapping):
      var members: [JSONNode.Member] = []
      for (key, value) in mapping {
        guard let name = key.scalar?.string else {
          throw Failure(message: "a map's key is no text\(Self.place(key))", status: .usage)
        }
        guard name != "<<" else {
          throw Failure(message: "merge keys (<<) aren't read\(Self.place(key)): write the values out", status: .usage)
        }
        members.append(.init(key: name, value: try Self.value(of: value, depth: depth + 1, &count)))
      }
      return .object(members)
    case .sequence(let sequence):
      return .array(try sequence.map { try value(of: $0, depth: depth + 1, &count) })
    case .scalar(let scalar):
      switch node.tag.rawValue {
      case "tag:yaml.org,2002:null": return .null
      case "tag:yaml.org,2002:bool": return .truth(node.bool == true)
      case "tag:yaml.org,2002:int": return .number(node.int.map(String.init) ?? scalar.string)
      case "tag:yaml.org,2002:float": return .number(scalar.string)
      default: return .text(scalar.string)
      }
    // Composing resolves them.
    case .alias: throw Failure(message: "an alias that nothing resolves\(Self.place(node))", status: .usage)
    }
  }

  private static func place(_ node: Node) -> String { node.mark.map { " (line \($0.line))" } ?? "" }

  /// Carries out steps on one document.
  mutating func apply(_ steps: [PatchStep], to index: Int) throws {
    values[index] = try values[index].applying(steps)
    switch documents[index] {
    case .json: documents[index] = .json(values[index])
    case .yaml(var node):
      for step in steps {
        guard node.apply(step, step.path[...]) else { throw PatchProblem(step: step) }
      }
      documents[index] = .yaml(node)
    }
  }

  func text() throws -> String {
    if case .json(let node)? = documents.first { return String(decoding: node.bytes, as: UTF8.self) + "\n" }
    let nodes = documents.map { document -> Node in
      guard case .yaml(let node) = document else { return Node([(Node, Node)]()) }
      return node.withoutAnchors
    }
    return try serialize(nodes: nodes, width: -1, allowUnicode: true, explicitStart: nodes.count > 1)
  }
}

extension Node {
  /// - Returns: false: there is no such place.
  fileprivate mutating func apply(_ step: PatchStep, _ path: ArraySlice<String>) -> Bool {
    guard let first = path.first else { return false }
    let rest = path.dropFirst()
    switch self {
    case .mapping(var mapping):
      let key = Node(first)
      if !rest.isEmpty {
        guard var value = mapping[key], value.apply(step, rest) else { return false }
        mapping[key] = value
      } else if step.operation == .add {
        // An empty map in one line (`{}`) would stay in one line.
        if mapping.isEmpty { mapping.style = .block }
        mapping[key] = Node(json: step.value)
      } else {
        guard mapping[key] != nil else { return false }
        mapping[key] = nil
      }
      self = .mapping(mapping)
    case .sequence(var sequence):
      guard let index = first == "-" ? sequence.count : Int(first), index >= 0 else { return false }
      if !rest.isEmpty {
        guard index < sequence.count, sequence[index].apply(step, rest) else { return false }
      } else if step.operation == .add {
        guard index <= sequence.count else { return false }
        if sequence.isEmpty { sequence.style = .block }
        sequence.insert(Node(json: step.value), at: index)
      } else {
        guard index < sequence.count else { return false }
        sequence.remove(at: index)
      }
      self = .sequence(sequence)
    case .scalar, .alias: return false
    }
    return true
  }

  fileprivate init(json: JSONNode) {
    self =
      switch json {
      case .null: Node("null")
      case .truth(let value): Node(value ? "true" : "false")
      case .number(let text): Node(text)
      case .text(let text): Node(text, .implicit, Self.isPlain(text) ? .plain : .doubleQuoted)
      case .array(let elements): Node(elements.map { Node(json: $0) })
      case .object(let members):
        Node(members.map { (Node($0.key), Node(json: $0.value)) })
      }
  }

  /// Whether a text, unquoted, is read as that text by every reader of YAML.
  private static func isPlain(_ text: String) -> Bool {
    guard let first = text.utf8.first, first == UInt8(ascii: "/") || (first | 0x20) >= UInt8(ascii: "a"),
      text.utf8.allSatisfy({
        switch $0 {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "-"),
          UInt8(ascii: "_"), UInt8(ascii: ":"):
          true
        default: false
        }
      }), text.utf8.last != UInt8(ascii: ":")
    else { return false }
    return !["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(text.lowercased())
  }

  /// Aliases have been expanded: the names that they referred to would stand in the text several times.
  fileprivate var withoutAnchors: Node {
    var node = self
    switch node {
    case .scalar(var scalar):
      scalar.anchor = nil
      node = .scalar(scalar)
    case .mapping(var mapping):
      mapping.anchor = nil
      for index in mapping.indices { mapping[index] = (mapping[index].key, mapping[index].value.withoutAnchors) }
      node = .mapping(mapping)
    case .sequence(var sequence):
      sequence.anchor = nil
      for index in sequence.indices { sequence[index] = sequence[index].withoutAnchors }
      node = .sequence(sequence)
    case .alias: break
    }
    return node
  }
}
