/// A set of byte values.
struct ByteSet: Sendable, Hashable {
  private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

  init() {}

  init(_ byte: UInt8) { insert(byte) }

  init(_ range: ClosedRange<UInt8>) {
    for byte in range { insert(byte) }
  }

  init(_ bytes: some Sequence<UInt8>) {
    for byte in bytes { insert(byte) }
  }

  static let all = ByteSet(0...255)
  static let digits = ByteSet(UInt8(ascii: "0")...UInt8(ascii: "9"))
  static let lower = ByteSet(UInt8(ascii: "a")...UInt8(ascii: "z"))
  static let upper = ByteSet(UInt8(ascii: "A")...UInt8(ascii: "Z"))
  static let letters = lower.union(upper)
  static let word = letters.union(digits).union(ByteSet(UInt8(ascii: "_")))
  /// `\s` of RE2: without the vertical tab.
  static let space = ByteSet("\t\n\u{0C}\r ".utf8)

  /// The POSIX classes.
  static let named: [(String, ByteSet)] = [
    ("alnum", letters.union(digits)), ("alpha", letters), ("ascii", ByteSet(0...127)),
    ("blank", ByteSet("\t ".utf8)), ("cntrl", ByteSet(0...31).union(ByteSet(127))), ("digit", digits),
    ("graph", ByteSet(33...126)), ("lower", lower), ("print", ByteSet(32...126)),
    ("punct", ByteSet((33...126).filter { !letters.union(digits).contains($0) })),
    ("space", space.union(ByteSet(0x0B))), ("upper", upper), ("word", word),
    ("xdigit", digits.union(ByteSet("abcdefABCDEF".utf8))),
  ]

  func contains(_ byte: UInt8) -> Bool { self[Int(byte >> 6)] & (1 << UInt64(byte & 63)) != 0 }

  mutating func insert(_ byte: UInt8) { self[Int(byte >> 6)] |= 1 << UInt64(byte & 63) }

  mutating func formUnion(_ other: ByteSet) {
    for index in 0..<4 { self[index] |= other[index] }
  }

  func union(_ other: ByteSet) -> ByteSet {
    var result = self
    result.formUnion(other)
    return result
  }

  var inverted: ByteSet {
    var result = self
    for index in 0..<4 { result[index] = ~result[index] }
    return result
  }

  /// With each ASCII letter in both cases.
  var foldingCase: ByteSet {
    var result = self
    for lower in UInt8(ascii: "a")...UInt8(ascii: "z") {
      let upper = lower - 32
      if contains(lower) { result.insert(upper) }
      if contains(upper) { result.insert(lower) }
    }
    return result
  }

  /// The only byte; nil where there are more or none.
  var single: UInt8? {
    guard (0..<4).reduce(0, { $0 + self[$1].nonzeroBitCount }) == 1 else { return nil }
    return (0...255).first { contains($0) }
  }

  private subscript(index: Int) -> UInt64 {
    get {
      switch index {
      case 0: words.0
      case 1: words.1
      case 2: words.2
      default: words.3
      }
    }
    set {
      switch index {
      case 0: words.0 = newValue
      case 1: words.1 = newValue
      case 2: words.2 = newValue
      default: words.3 = newValue
      }
    }
  }

  static func == (left: ByteSet, right: ByteSet) -> Bool { left.words == right.words }

  func hash(into hasher: inout Hasher) {
    for index in 0..<4 { hasher.combine(self[index]) }
  }
}
