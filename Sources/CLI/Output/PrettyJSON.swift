import FoundationEssentials

/// JSON with two spaces of indentation. Order, numbers and strings stay byte for byte as they came.
enum PrettyJSON {
  /// - Parameter json: well-formed; anything else gives text that isn't either.
  static func format(_ json: Data) -> String {
    var out: [UInt8] = []
    out.reserveCapacity(json.count * 2)
    var depth = 0
    var isInString = false
    var isEscaped = false
    /// The bracket just opened, while nothing stands in it.
    var isEmpty = false
    func breakLine(_ depth: Int) {
      out.append(UInt8(ascii: "\n"))
      out.append(contentsOf: repeatElement(UInt8(ascii: " "), count: 2 * max(0, depth)))
    }
    for byte in json {
      if isInString {
        out.append(byte)
        if isEscaped {
          isEscaped = false
        } else if byte == UInt8(ascii: "\\") {
          isEscaped = true
        } else if byte == UInt8(ascii: "\"") {
          isInString = false
        }
        continue
      }
      switch byte {
      case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\n"), UInt8(ascii: "\r"): continue
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        if !isEmpty { breakLine(depth) }
        isEmpty = false
        out.append(byte)
        continue
      default: break
      }
      if isEmpty { breakLine(depth) }
      isEmpty = false
      out.append(byte)
      switch byte {
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        depth += 1
        isEmpty = true
      case UInt8(ascii: ","): breakLine(depth)
      case UInt8(ascii: ":"): out.append(UInt8(ascii: " "))
      case UInt8(ascii: "\""): isInString = true
      default: break
      }
    }
    return String(decoding: out, as: UTF8.self)
  }
}
