/// What a pattern says.
indirect enum RegularExpressionNode {
  case empty
  case set(ByteSet)
  case start
  case end
  case sequence([RegularExpressionNode])
  case alternatives([RegularExpressionNode])
  /// nil: without end.
  case repetition(RegularExpressionNode, minimum: Int, maximum: Int?)
}

/// Recursive descent over a pattern's bytes.
struct RegularExpressionParser {
  /// Of groups within each other: bounds the recursion.
  private static let maximumDepth = 100
  /// As RE2's.
  private static let maximumRepetition = 1000

  private struct Flags {
    var ignoresCase = false
    var dotTakesNewline = false
  }

  private let pattern: String
  private let bytes: [UInt8]
  private var position = 0
  private var depth = 0
  private var flags = Flags()

  init(_ pattern: String) {
    self.pattern = pattern
    bytes = Array(pattern.utf8)
  }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private func error(_ reason: String, at place: Int? = nil) -> RegularExpressionError {
    RegularExpressionError(reason, pattern: pattern, at: place ?? position)
  }

  private mutating func take(_ byte: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: byte) else { return false }
    position += 1
    return true
  }

  private func starts(with text: String) -> Bool { bytes[position...].starts(with: text.utf8) }

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
    if let byte = next, [UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?")].contains(byte) {
      throw error("a repetition of a repetition: put the first into a group")
    }
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

  private func folded(_ set: ByteSet) -> ByteSet { flags.ignoresCase ? set.foldingCase : set }

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

  // MARK: Escapes and classes

  private mutating func escape(from start: Int) throws(RegularExpressionError) -> ByteSet {
    guard let byte = next else { throw error("a \\ at the end", at: start) }
    position += 1
    switch byte {
    case UInt8(ascii: "d"): return .digits
    case UInt8(ascii: "D"): return ByteSet.digits.inverted
    case UInt8(ascii: "w"): return .word
    case UInt8(ascii: "W"): return ByteSet.word.inverted
    case UInt8(ascii: "s"): return .space
    case UInt8(ascii: "S"): return ByteSet.space.inverted
    case UInt8(ascii: "n"): return ByteSet(0x0A)
    case UInt8(ascii: "r"): return ByteSet(0x0D)
    case UInt8(ascii: "t"): return ByteSet(0x09)
    case UInt8(ascii: "f"): return ByteSet(0x0C)
    case UInt8(ascii: "v"): return ByteSet(0x0B)
    case UInt8(ascii: "a"): return ByteSet(0x07)
    case UInt8(ascii: "x"):
      guard position + 1 < bytes.count, let high = bytes[position].hexadecimalDigit,
        let low = bytes[position + 1].hexadecimalDigit
      else { throw error("\\x takes two hexadecimal digits", at: start) }
      position += 2
      return ByteSet(high << 4 | low)
    case UInt8(ascii: "1")...UInt8(ascii: "9"), UInt8(ascii: "k"):
      throw error("backreferences aren't supported, as they have no linear time", at: start)
    case UInt8(ascii: "b"), UInt8(ascii: "B"): throw error("word boundaries aren't supported", at: start)
    case UInt8(ascii: "p"), UInt8(ascii: "P"): throw error("Unicode classes aren't supported", at: start)
    case 0x21..<0x7F where !ByteSet.word.contains(byte), UInt8(ascii: "_"): return ByteSet(byte)
    default: throw error("an unknown escape", at: start)
    }
  }

  private mutating func characterClass(from start: Int) throws(RegularExpressionError) -> ByteSet {
    let isInverted = take("^")
    var set = ByteSet()
    var isFirst = true
    while let byte = next, byte != UInt8(ascii: "]") || isFirst {
      isFirst = false
      if starts(with: "[:") {
        set.formUnion(try namedClass())
        continue
      }
      let low = try classMember()
      let dash = position
      guard take("-"), let end = next, end != UInt8(ascii: "]") else {
        position = dash
        set.formUnion(low)
        continue
      }
      let high = try classMember()
      guard let from = low.single, let to = high.single, from <= to else {
        throw error("a range whose ends aren't in order", at: dash)
      }
      set.formUnion(ByteSet(from...to))
    }
    guard take("]") else { throw error("a [ without its ]", at: start) }
    set = folded(set)
    return isInverted ? set.inverted : set
  }

  private mutating func classMember() throws(RegularExpressionError) -> ByteSet {
    let start = position
    let byte = bytes[position]
    guard byte < 0x80 else { throw error("a class takes ASCII characters only") }
    position += 1
    return byte == UInt8(ascii: "\\") ? try escape(from: start) : ByteSet(byte)
  }

  private mutating func namedClass() throws(RegularExpressionError) -> ByteSet {
    for (name, set) in ByteSet.named {
      for (spelling, isInverted) in [("[:\(name):]", false), ("[:^\(name):]", true)] where starts(with: spelling) {
        position += spelling.utf8.count
        return isInverted ? set.inverted : set
      }
    }
    throw error("an unknown class of characters")
  }
}
