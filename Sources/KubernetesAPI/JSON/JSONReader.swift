/// Why bytes are no JSON that may be read.
public struct JSONProblem: Error, Hashable, Sendable, CustomStringConvertible {
  public var offset: Int
  public var reason: String

  public var description: String { "byte \(offset): \(reason)" }
}

/// Reads JSON (RFC 8259) from a server into a tree, without the members that nobody reads.
public struct JSONReader {
  /// Arrays and objects inside one another.
  public static let maximumDepth = 128

  private let bytes: UnsafeBufferPointer<UInt8>
  private let skipped: Set<String>
  private var offset = 0

  /// - Parameters:
  ///   - selection: what is read.
  ///   - skipping: members of these names are checked and left out, wherever they stand.
  /// - Throws: `JSONProblem`, also where something follows the value.
  public static func read(
    _ bytes: some Collection<UInt8>, _ selection: JSONSelection = .all, skipping: Set<String> = []
  ) throws(JSONProblem) -> JSONNode {
    let outcome: Result<JSONNode, JSONProblem>? = bytes.withContiguousStorageIfAvailable { buffer in
      Result { () throws(JSONProblem) in try read(buffer, selection, skipping) }
    }
    if let outcome { return try outcome.get() }
    return try read(Array(bytes), selection, skipping: skipping)
  }

  private static func read(
    _ bytes: UnsafeBufferPointer<UInt8>, _ selection: JSONSelection, _ skipping: Set<String>
  ) throws(JSONProblem) -> JSONNode {
    var reader = JSONReader(bytes: bytes, skipped: skipping)
    let value = try reader.value(depth: 0, selection)
    reader.skipSpace()
    guard reader.offset == bytes.count else { throw reader.problem("something follows the value") }
    return value
  }

  private init(bytes: UnsafeBufferPointer<UInt8>, skipped: Set<String>) {
    self.bytes = bytes
    self.skipped = skipped
  }

  private func problem(_ reason: String) -> JSONProblem { JSONProblem(offset: offset, reason: reason) }

  private var current: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  private mutating func skipSpace() {
    while let byte = current, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { offset += 1 }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    skipSpace()
    guard current == byte else { return false }
    offset += 1
    return true
  }

  private mutating func value(depth: Int, _ selection: JSONSelection) throws(JSONProblem) -> JSONNode {
    guard depth <= Self.maximumDepth else {
      throw problem("more than \(Self.maximumDepth) arrays and objects inside one another")
    }
    skipSpace()
    guard let byte = current else { throw problem("ends in the middle of a value") }
    switch byte {
    case UInt8(ascii: "{"): return try object(depth: depth, selection)
    case UInt8(ascii: "["): return try array(depth: depth, selection)
    case UInt8(ascii: "\""): return .text(try text(isWanted: selection != .none))
    case UInt8(ascii: "t"): return try word("true", .truth(true))
    case UInt8(ascii: "f"): return try word("false", .truth(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    default: throw problem("no value begins so")
    }
  }

  private mutating func word(_ word: StaticString, _ value: JSONNode) throws(JSONProblem) -> JSONNode {
    let length = word.utf8CodeUnitCount
    guard offset + length <= bytes.count,
      UnsafeBufferPointer(rebasing: bytes[offset..<offset + length]).elementsEqual(
        UnsafeBufferPointer(start: word.utf8Start, count: length))
    else { throw problem("no value begins so") }
    offset += length
    return value
  }

  private mutating func number() throws(JSONProblem) -> JSONNode {
    let start = offset
    while let byte = current {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."),
        UInt8(ascii: "e"), UInt8(ascii: "E"):
        offset += 1
        continue
      default: break
      }
      break
    }
    let text = String(decoding: bytes[start..<offset], as: UTF8.self)
    guard text.utf8.count <= 64, Double(text) != nil else { throw problem("is no number") }
    return .number(text)
  }

  private mutating func array(depth: Int, _ selection: JSONSelection) throws(JSONProblem) -> JSONNode {
    offset += 1
    var elements: [JSONNode] = []
    if take(UInt8(ascii: "]")) { return .array(elements) }
    repeat {
      let element = try value(depth: depth + 1, selection)
      if selection != .none { elements.append(element) }
    } while take(UInt8(ascii: ","))
    guard take(UInt8(ascii: "]")) else { throw problem("an array goes on with , or ends with ]") }
    return .array(elements)
  }

  private mutating func object(depth: Int, _ selection: JSONSelection) throws(JSONProblem) -> JSONNode {
    offset += 1
    var members: [JSONNode.Member] = []
    if take(UInt8(ascii: "}")) { return .object(members) }
    repeat {
      skipSpace()
      guard current == UInt8(ascii: "\"") else { throw problem("an object's member begins with its name") }
      let key = try text(isWanted: selection != .none)
      guard take(UInt8(ascii: ":")) else { throw problem("a member's name is followed by :") }
      let selected = skipped.contains(key) ? .none : selection[key]
      let value = try value(depth: depth + 1, selected)
      if selected != .none { members.append(JSONNode.Member(key: key, value: value)) }
    } while take(UInt8(ascii: ","))
    guard take(UInt8(ascii: "}")) else { throw problem("an object goes on with , or ends with }") }
    return .object(members)
  }

  private mutating func text(isWanted: Bool) throws(JSONProblem) -> String {
    offset += 1
    let start = offset
    while let byte = current, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { offset += 1 }
    if current == UInt8(ascii: "\"") {
      defer { offset += 1 }
      return isWanted ? String(decoding: bytes[start..<offset], as: UTF8.self) : ""
    }
    var unescaped = Array(bytes[start..<offset])
    while let byte = current {
      offset += 1
      switch byte {
      case UInt8(ascii: "\""): return isWanted ? String(decoding: unescaped, as: UTF8.self) : ""
      case UInt8(ascii: "\\"): try escape(into: &unescaped)
      case 0..<0x20: throw problem("a control character in a text")
      default: unescaped.append(byte)
      }
    }
    throw problem("ends in the middle of a text")
  }

  private mutating func escape(into text: inout [UInt8]) throws(JSONProblem) {
    guard let byte = current else { throw problem("ends in the middle of a text") }
    offset += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      var unit = UInt32(try hexadecimal())
      if (0xD800..<0xDC00).contains(unit) {
        guard take2(UInt8(ascii: "\\"), UInt8(ascii: "u")) else { throw problem("half of a surrogate pair") }
        let low = UInt32(try hexadecimal())
        guard (0xDC00..<0xE000).contains(low) else { throw problem("half of a surrogate pair") }
        unit = 0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(unit) else { throw problem("half of a surrogate pair") }
      text += String(Character(scalar)).utf8
    default: throw problem("\\ is followed by no known letter")
    }
  }

  private mutating func take2(_ first: UInt8, _ second: UInt8) -> Bool {
    guard offset + 1 < bytes.count, bytes[offset] == first, bytes[offset + 1] == second else { return false }
    offset += 2
    return true
  }

  private mutating func hexadecimal() throws(JSONProblem) -> UInt16 {
    guard offset + 4 <= bytes.count,
      let value = UInt16(String(decoding: bytes[offset..<offset + 4], as: UTF8.self), radix: 16),
      bytes[offset] != UInt8(ascii: "+"), bytes[offset] != UInt8(ascii: "-")
    else { throw problem("\\u is followed by four hexadecimal digits") }
    offset += 4
    return value
  }
}
