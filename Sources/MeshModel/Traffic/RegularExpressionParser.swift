/// What a pattern says.
indirect enum RegularExpressionNode {
  case set(ByteSet)
  case start
  case end
  case sequence([RegularExpressionNode])
  case alternatives([RegularExpressionNode])
  /// nil: without end.
  case repetition(RegularExpressionNode, minimum: Int, maximum: Int?)

  /// What all of its texts begin with, and whether that is the whole of them.
  var literalPrefix: (bytes: [UInt8], isWhole: Bool) {
    switch self {
    case .start, .end: return ([], true)
    case .set(let set): return set.single.map { ([$0], true) } ?? ([], false)
    case .alternatives, .repetition: return ([], false)
    case .sequence(let nodes):
      var bytes: [UInt8] = []
      for node in nodes {
        let part = node.literalPrefix
        bytes += part.bytes
        guard part.isWhole else { return (bytes, false) }
      }
      return (bytes, true)
    }
  }
}

/// Recursive descent over a pattern's bytes.
struct RegularExpressionParser {
  /// Of groups within each other: bounds the recursion.
  private static let maximumDepth = 100
  /// As RE2's.
  private static let maximumRepetition = 1000

  struct Flags {
    var ignoresCase = false
    var dotTakesNewline = false
  }

  private let pattern: String
  let bytes: [UInt8]
  var position = 0
  private var depth = 0
  var flags = Flags()

  init(_ pattern: String) {
    self.pattern = pattern
    bytes = Array(pattern.utf8)
  }

  var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  func error(_ reason: String, at place: Int? = nil) -> RegularExpressionError {
    RegularExpressionError(reason, pattern: pattern, at: place ?? position)
  }

  mutating func take(_ byte: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: byte) else { return false }
    position += 1
    return true
  }

  func starts(with text: String) -> Bool { bytes[position...].starts(with: text.utf8) }

  mutating func parse() throws(RegularExpressionError) -> RegularExpressionNode {
    let node = try alternatives()
    guard position == bytes.count else { throw error("a ) without its (") }
    return node
  }

  private mutating func alternatives() throws(RegularExpressionError) -> RegularExpressionNode {
    depth += 1
    guard depth <= Self.maximumDepth else {
      throw error("more than \(Self.maximumDepth) groups within each other")
    }
    // A flag set within a group holds to the group's end.
    let outer = flags
    var branches = [try sequence()]
    while take("|") { branches.append(try sequence()) }
    flags = outer
    depth -= 1
    return branches.count == 1 ? branches[0] : .alternatives(branches)
  }

  private mutating func sequence() throws(RegularExpressionError) -> RegularExpressionNode {
    var nodes: [RegularExpressionNode] = []
    while let byte = next, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
      let start = position
      guard let atom = try atom() else { continue }
      nodes.append(try repeated(atom, from: start))
    }
    return nodes.count == 1 ? nodes[0] : .sequence(nodes)
  }

  // MARK: Repetition

  private mutating func repeated(
    _ atom: RegularExpressionNode, from start: Int
  ) throws(RegularExpressionError) -> RegularExpressionNode {
    guard let bounds = try quantifier() else { return atom }
    _ = take("?")
    if let byte = next, byte == UInt8(ascii: "+"), bytes[position - 1] != UInt8(ascii: "?") {
      throw error("possessive repetition isn't supported")
    }
    let end = position
    if try quantifier() != nil { throw error("a repetition of a repetition: put the first into a group", at: end) }
    return .repetition(atom, minimum: bounds.minimum, maximum: bounds.maximum)
  }

  private mutating func quantifier() throws(RegularExpressionError) -> (minimum: Int, maximum: Int?)? {
    if take("*") { return (0, nil) }
    if take("+") { return (1, nil) }
    if take("?") { return (0, 1) }
    let start = position
    guard take("{"), let minimum = number() else {
      // Not a repetition: a literal brace, as in RE2.
      position = start
      return nil
    }
    var maximum: Int? = minimum
    if take(",") { maximum = next == UInt8(ascii: "}") ? nil : number() ?? -1 }
    guard take("}"), maximum != -1 else {
      position = start
      return nil
    }
    guard max(minimum, maximum ?? 0) <= Self.maximumRepetition else {
      throw error("more than \(Self.maximumRepetition) repetitions", at: start)
    }
    if let maximum, maximum < minimum { throw error("a repetition whose end lies before its start", at: start) }
    return (minimum, maximum)
  }

  /// Saturates: what is too large is refused as such.
  private mutating func number() -> Int? {
    let start = position
    var value = 0
    while let byte = next, byte &- 48 < 10 {
      value = min(value * 10 + Int(byte - 48), Self.maximumRepetition + 1)
      position += 1
    }
    return position > start ? value : nil
  }

  // MARK: Atoms

  /// nil: flags, which match nothing.
  private mutating func atom() throws(RegularExpressionError) -> RegularExpressionNode? {
    let start = position
    let byte = bytes[position]
    position += 1
    switch byte {
    case UInt8(ascii: "("): return try group()
    case UInt8(ascii: "["): return .set(try characterClass(from: start))
    case UInt8(ascii: "."): return .set(flags.dotTakesNewline ? .all : ByteSet(UInt8(ascii: "\n")).inverted)
    case UInt8(ascii: "^"): return .start
    case UInt8(ascii: "$"): return .end
    case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"): throw error("nothing to repeat", at: start)
    case UInt8(ascii: "\\"):
      if take("A") { return .start }
      if take("z") { return .end }
      return .set(folded(try escape(from: start)))
    case 0x80...:
      // All bytes of the character, so that a repetition holds for the whole of it.
      while let byte = next, byte & 0xC0 == 0x80 { position += 1 }
      return .sequence(bytes[start..<position].map { .set(ByteSet($0)) })
    default: return .set(folded(ByteSet(byte)))
    }
  }

  func folded(_ set: ByteSet) -> ByteSet { flags.ignoresCase ? set.foldingCase : set }

  private mutating func group() throws(RegularExpressionError) -> RegularExpressionNode? {
    let start = position - 1
    guard next != UInt8(ascii: "?") else {
      return try groupHeader(from: start)
    }
    return try groupBody(from: start, flags)
  }

  private mutating func groupBody(
    from start: Int, _ inner: Flags
  ) throws(RegularExpressionError) -> RegularExpressionNode {
    let outer = flags
    flags = inner
    let node = try alternatives()
    flags = outer
    guard take(")") else { throw error("a ( without its )", at: start) }
    return node
  }

  private mutating func groupHeader(from start: Int) throws(RegularExpressionError) -> RegularExpressionNode? {
    for lookaround in ["?=", "?!", "?<=", "?<!"] where starts(with: lookaround) {
      throw error("lookaround isn't supported, as it has no linear time", at: start)
    }
    if starts(with: "?>") { throw error("atomic groups aren't supported", at: start) }
    if starts(with: "?P<") || starts(with: "?<") {
      guard let end = bytes[position...].firstIndex(of: UInt8(ascii: ">")) else {
        throw error("a group's name without its >", at: start)
      }
      position = end + 1
      return try groupBody(from: start, flags)
    }
    position += 1
    var inner = flags
    var isSet = true
    while let byte = next {
      position += 1
      switch byte {
      case UInt8(ascii: "i"): inner.ignoresCase = isSet
      case UInt8(ascii: "s"): inner.dotTakesNewline = isSet
      case UInt8(ascii: "-") where isSet: isSet = false
      case UInt8(ascii: ":"): return try groupBody(from: start, inner)
      case UInt8(ascii: ")"):
        flags = inner
        return nil
      default: throw error("a group or flag of this kind isn't supported", at: start)
      }
    }
    throw error("a ( without its )", at: start)
  }
}
