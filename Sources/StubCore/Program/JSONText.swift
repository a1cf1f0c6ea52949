/// Writes one JSON object, field by field.
public struct JSONText {
  private var fields: [String] = []

  public init() {}

  public mutating func set(_ name: String, _ value: Int) { fields.append("\(Self.quoted(name)):\(value)") }
  public mutating func set(_ name: String, _ value: Bool) { fields.append("\(Self.quoted(name)):\(value)") }

  /// nil: null.
  public mutating func set(_ name: String, _ value: String?) {
    fields.append("\(Self.quoted(name)):\(value.map(Self.quoted) ?? "null")")
  }

  public mutating func set(_ name: String, _ value: JSONText) { fields.append("\(Self.quoted(name)):\(value.text)") }

  public var text: String { "{\(fields.joined(separator: ","))}" }

  public static func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }
}
