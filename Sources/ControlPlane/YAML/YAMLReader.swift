// libyaml itself, which Yams is built on: Yams composes whole trees only, and expands aliases without a bound.
import CYaml

/// Reads the documents of a YAML stream (JSON is YAML) within bounds, so that a file from anywhere costs no
/// more than its size.
struct YAMLReader {
  struct Limits: Sendable {
    /// Maps and lists inside one another, aliases expanded.
    var depth = 64
    /// Values that aliases add to a file.
    var aliasedNodes = 10_000
    /// Objects of one file.
    var documents = 100_000
  }

  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private let file: String
  private let limits: Limits
  private var anchors: [String: Anchored] = [:]
  private var aliasedNodes = 0

  private struct Anchored {
    var node: YAMLNode
    var depth: Int
    var count: Int
  }

  /// A composed value with the depth and the number of values in it.
  private typealias Composed = Anchored

  /// The documents of `bytes` in order, empty ones left out.
  static func documents(
    in bytes: [UInt8], file: String, limits: Limits = Limits()
  ) throws(ConfigProblem) -> [YAMLNode] {
    let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    defer { parser.deallocate() }
    guard yaml_parser_initialize(parser) == 1 else {
      throw ConfigProblem(file: file, reason: "no memory to read it")
    }
    defer { yaml_parser_delete(parser) }
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    // The parser points into this copy until it is deleted.
    let input = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(bytes.count, 1))
    defer { input.deallocate() }
    _ = input.update(fromContentsOf: bytes)
    yaml_parser_set_input_string(parser, input.baseAddress, bytes.count)
    var reader = YAMLReader(parser: parser, file: file, limits: limits)
    do {
      return try reader.stream()
    } catch {
      guard error.line == nil, parser.pointee.error == YAML_READER_ERROR else { throw error }
      let before = bytes.prefix(parser.pointee.problem_offset)
      let line = 1 + before.count { $0 == UInt8(ascii: "\n") }
      throw ConfigProblem(file: file, line: line, column: 1, reason: error.reason)
    }
  }

  private init(parser: UnsafeMutablePointer<yaml_parser_t>, file: String, limits: Limits) {
    self.parser = parser
    self.file = file
    self.limits = limits
  }

  private mutating func stream() throws(ConfigProblem) -> [YAMLNode] {
    var documents: [YAMLNode] = []
    while true {
      var event = try next()
      let type = event.type
      yaml_event_delete(&event)
      switch type {
      case YAML_STREAM_END_EVENT: return documents
      case YAML_DOCUMENT_START_EVENT:
        anchors.removeAll()
        let root = try value(try next(), depth: 1)
        guard documents.count < limits.documents else {
          throw problem(root.node.line, root.node.column, "more than \(limits.documents) documents in one file")
        }
        if !root.node.isNull { documents.append(root.node) }
      default: break
      }
    }
  }

  private func next() throws(ConfigProblem) -> yaml_event_t {
    var event = yaml_event_t()
    guard yaml_parser_parse(parser, &event) == 1 else { throw syntaxProblem() }
    return event
  }

  private mutating func value(_ first: yaml_event_t, depth: Int) throws(ConfigProblem) -> Composed {
    var event = first
    defer { yaml_event_delete(&event) }
    let line = event.start_mark.line + 1
    let column = event.start_mark.column + 1
    let node = { (content: YAMLNode.Content) in YAMLNode(content: content, line: line, column: column) }
    switch event.type {
    case YAML_ALIAS_EVENT:
      return try alias(text(event.data.alias.anchor), line, column, depth: depth)
    case YAML_SCALAR_EVENT:
      let scalar = event.data.scalar
      let bytes = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
      let isQuoted = scalar.style != YAML_PLAIN_SCALAR_STYLE
      let isText = try tag(scalar.tag, line, column) == "str"
      let content = YAMLNode.Content.scalar(
        String(decoding: bytes, as: UTF8.self), isPlain: !isQuoted && !isText)
      return register(scalar.anchor, Composed(node: node(content), depth: 0, count: 1))
    case YAML_SEQUENCE_START_EVENT:
      let anchor = event.data.sequence_start.anchor
      _ = try tag(event.data.sequence_start.tag, line, column)
      try check(depth: depth, line, column)
      return register(anchor, try sequence(node: node, depth: depth))
    case YAML_MAPPING_START_EVENT:
      let anchor = event.data.mapping_start.anchor
      _ = try tag(event.data.mapping_start.tag, line, column)
      try check(depth: depth, line, column)
      return register(anchor, try mapping(node: node, depth: depth))
    default:
      throw problem(line, column, "a value was expected here")
    }
  }

  private mutating func sequence(
    node: (YAMLNode.Content) -> YAMLNode, depth: Int
  ) throws(ConfigProblem) -> Composed {
    var elements: [YAMLNode] = []
    var inner = 0
    var count = 1
    while true {
      var event = try next()
      if event.type == YAML_SEQUENCE_END_EVENT {
        yaml_event_delete(&event)
        return Composed(node: node(.sequence(elements)), depth: inner + 1, count: count)
      }
      let element = try value(event, depth: depth + 1)
      elements.append(element.node)
      inner = max(inner, element.depth)
      count += element.count
    }
  }

  private mutating func mapping(
    node: (YAMLNode.Content) -> YAMLNode, depth: Int
  ) throws(ConfigProblem) -> Composed {
    var pairs: [YAMLPair] = []
    var lines: [String: Int] = [:]
    var inner = 0
    var count = 1
    while true {
      var event = try next()
      if event.type == YAML_MAPPING_END_EVENT {
        yaml_event_delete(&event)
        return Composed(node: node(.mapping(pairs)), depth: inner + 1, count: count)
      }
      let key = try value(event, depth: depth + 1).node
      guard case .scalar(let name, _) = key.content else {
        throw problem(key.line, key.column, "a field's name must be text, not \(key.summary)")
      }
      if let line = lines.updateValue(key.line, forKey: name) {
        throw problem(key.line, key.column, "\"\(name.prefix(64))\" stands twice in one map; first on line \(line)")
      }
      let element = try value(try next(), depth: depth + 1)
      pairs.append(YAMLPair(key: name, line: key.line, column: key.column, value: element.node))
      inner = max(inner, element.depth)
      count += element.count + 1
    }
  }

  private mutating func alias(
    _ name: String, _ line: Int, _ column: Int, depth: Int
  ) throws(ConfigProblem) -> Composed {
    guard let anchored = anchors[name] else {
      throw problem(line, column, "*\(name.prefix(64)) refers to no anchor before it")
    }
    aliasedNodes += anchored.count
    guard aliasedNodes <= limits.aliasedNodes else {
      throw problem(line, column, "the file's aliases expand to more than \(limits.aliasedNodes) values")
    }
    guard depth - 1 + anchored.depth <= limits.depth else { throw tooDeep(line, column) }
    return anchored
  }

  private mutating func register(_ anchor: UnsafePointer<UInt8>?, _ composed: Composed) -> Composed {
    if let anchor { anchors[text(anchor)] = composed }
    return composed
  }

  /// The short name of a tag of YAML's own schema; any other tag would need code to construct its value.
  private func tag(_ tag: UnsafePointer<UInt8>?, _ line: Int, _ column: Int) throws(ConfigProblem) -> String? {
    guard let tag else { return nil }
    let name = text(tag)
    let prefix = "tag:yaml.org,2002:"
    let short = name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : name
    guard ["str", "int", "float", "bool", "null", "seq", "map", "!"].contains(short) else {
      throw problem(line, column, "the tag \(name.prefix(64)) is not supported")
    }
    return short == "!" ? "str" : short
  }

  private func check(depth: Int, _ line: Int, _ column: Int) throws(ConfigProblem) {
    guard depth <= limits.depth else { throw tooDeep(line, column) }
  }

  private func tooDeep(_ line: Int, _ column: Int) -> ConfigProblem {
    problem(line, column, "more than \(limits.depth) maps and lists inside one another")
  }

  private func problem(_ line: Int, _ column: Int, _ reason: String) -> ConfigProblem {
    ConfigProblem(file: file, line: line, column: column, reason: reason)
  }

  private func syntaxProblem() -> ConfigProblem {
    let state = parser.pointee
    let reason = state.problem.map { String(cString: $0) } ?? "can't be read"
    guard state.error == YAML_SCANNER_ERROR || state.error == YAML_PARSER_ERROR else {
      return ConfigProblem(
        file: file,
        reason: state.error == YAML_READER_ERROR ? "is not UTF-8 text: \(reason)" : "no memory to read it")
    }
    // libyaml looks ahead, to a bound of its own.
    guard !reason.hasPrefix("Maximum nesting level") else { return tooDeep(1, 1) }
    let context = state.context.map { " \(String(cString: $0))" } ?? ""
    return problem(
      state.problem_mark.line + 1, state.problem_mark.column + 1, "is not valid YAML: \(reason)\(context)")
  }
}

private func text(_ bytes: UnsafePointer<UInt8>?) -> String {
  bytes.map { String(cString: $0) } ?? ""
}
