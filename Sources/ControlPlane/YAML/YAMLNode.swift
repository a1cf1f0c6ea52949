/// A value of a YAML document and where it stands in its file.
struct YAMLNode: Sendable {
  indirect enum Content: Sendable {
    /// `isPlain`: written without quotes, so that its text may mean a number, a truth value or nothing.
    case scalar(String, isPlain: Bool)
    case sequence([YAMLNode])
    case mapping([YAMLPair])
  }

  var content: Content
  /// From 1.
  var line: Int
  /// From 1, in Unicode scalars.
  var column: Int

  /// What the value is, in words for a person.
  var summary: String {
    switch content {
    case .scalar(let text, let isPlain):
      switch isPlain ? PlainScalar(text) : .text {
      case .null: "nothing"
      case .text: "\"\(text.prefix(64))\(text.count > 64 ? "…" : "")\""
      case .truth, .number: text
      }
    case .sequence: "a list"
    case .mapping: "a map"
    }
  }

  var isNull: Bool {
    if case .scalar(let text, isPlain: true) = content { PlainScalar(text) == .null } else { false }
  }
}

struct YAMLPair: Sendable {
  var key: String
  var line: Int
  var column: Int
  var value: YAMLNode
}

/// What an unquoted scalar means. As `kubectl` reads it: `yes`, `no`, `on` and `off` are truth values (YAML 1.1).
enum PlainScalar: Equatable {
  case null
  case truth(Bool)
  case number
  case text

  init(_ text: String) {
    switch text {
    case "", "~", "null", "Null", "NULL": self = .null
    case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON": self = .truth(true)
    case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF": self = .truth(false)
    default: self = Self.isNumber(text) ? .number : .text
    }
  }

  private static func isNumber(_ text: String) -> Bool {
    guard let first = text.utf8.first, first < UInt8(ascii: "A") else { return false }
    if Int(text) != nil { return true }
    // Double(_:) also takes "nan" and "infinity", which don't begin with a digit, a sign or a point.
    return Double(text) != nil
      && text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
          UInt8(ascii: "e"), UInt8(ascii: "E"):
          true
        default: false
        }
      }
  }
}
