extension RegularExpressionParser {
  mutating func escape(from start: Int) throws(RegularExpressionError) -> ByteSet {
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

  mutating func characterClass(from start: Int) throws(RegularExpressionError) -> ByteSet {
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
