/// A place in an object, for reading with errors that name file, line and field.
struct Field {
  /// The file's path as the user gave it.
  let file: String
  /// `spec.containers[0].ports`; empty for the object itself.
  let path: String
  /// nil where the field is absent or null.
  let value: YAMLValue?
  /// The line of the nearest value that exists.
  let line: Int

  init(file: String, object: YAMLValue) {
    self.init(file: file, path: "", value: object, line: object.line)
  }

  private init(file: String, path: String, value: YAMLValue?, line: Int) {
    self.file = file
    self.path = path
    if case .null? = value?.content { self.value = nil } else { self.value = value }
    self.line = value?.line ?? line
  }

  func error(_ what: String) -> LabError {
    LabError("\(file):\(line): \(path.isEmpty ? "" : path + ": ")\(what)")
  }

  var isPresent: Bool { value != nil }

  subscript(key: String) -> Field {
    Field(file: file, path: path.isEmpty ? key : "\(path).\(key)", value: value?[key], line: line)
  }

  /// - Parameter known: every key that may stand in this map.
  /// - Throws: where this is no map, or has a key that isn't known.
  func map(known: Set<String>) throws -> [String: Field] {
    guard let value else { return [:] }
    guard case .map(let pairs) = value.content else { throw error("expected a map, found \(value.kindName)") }
    var fields: [String: Field] = [:]
    for (key, _) in pairs {
      guard known.contains(key) else { throw self[key].error("unknown field") }
      fields[key] = self[key]
    }
    return fields
  }

  func string() throws -> String? {
    guard let value else { return nil }
    guard case .string(let text) = value.content else { throw error("expected a string, found \(value.kindName)") }
    return text
  }

  func bool() throws -> Bool? {
    guard let value else { return nil }
    guard case .bool(let flag) = value.content else {
      throw error("expected true or false, found \(value.kindName)")
    }
    return flag
  }

  func int(in range: ClosedRange<Int>) throws -> Int? {
    guard let value else { return nil }
    guard case .int(let number) = value.content, range.contains(number) else {
      throw error("expected a number from \(range.lowerBound) to \(range.upperBound), found \(value.kindName)")
    }
    return number
  }

  func list() throws -> [Field] {
    guard let value else { return [] }
    guard case .list(let values) = value.content else { throw error("expected a list, found \(value.kindName)") }
    return values.enumerated().map {
      Field(file: file, path: "\(path)[\($0.offset)]", value: $0.element, line: $0.element.line)
    }
  }

  func strings() throws -> [String] {
    try list().map { try $0.required($0.string()) }
  }

  func stringMap() throws -> [String: String] {
    guard let value else { return [:] }
    guard case .map(let pairs) = value.content else { throw error("expected a map, found \(value.kindName)") }
    return try Dictionary(
      uniqueKeysWithValues: pairs.map { ($0.key, try self[$0.key].required(self[$0.key].string())) })
  }

  func required<T>(_ read: T?) throws -> T {
    guard let read else { throw error("is required") }
    return read
  }

  /// A required string of one of `choices`, or `fallback` where absent.
  func choice(_ choices: [String], default fallback: String) throws -> String {
    guard let text = try string() else { return fallback }
    guard choices.contains(text) else { throw error("expected \(choices.joined(separator: ", ")), found \"\(text)\"") }
    return text
  }
}
