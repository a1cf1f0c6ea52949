/// The Huffman code of RFC 7541 appendix B, for reading. It is canonical, so that the lengths tell all of it.
struct HuffmanCode: Sendable {
  static let shared = HuffmanCode()

  /// Codes up to that length, nearly all of what headers hold, are found by one look into `short`.
  private static let shortBits = 10
  private static let longestBits = 30
  private static let endOfString = 256

  /// By the next 10 bits: length << 8 | symbol; 0 where the code is longer.
  private let short: [UInt16]
  /// Symbols by length, then value.
  private let symbols: [UInt16]
  /// By length: the first code, how many there are, and where the first one's symbol stands in `symbols`.
  private let first: [UInt32]
  private let counts: [UInt32]
  private let offsets: [Int]

  private init() {
    let lengths = Self.lengths
    var short = [UInt16](repeating: 0, count: 1 << Self.shortBits)
    var first = [UInt32](repeating: 0, count: Self.longestBits + 1)
    var counts = first
    var offsets = [Int](repeating: 0, count: Self.longestBits + 1)
    var symbols: [UInt16] = []
    var code: UInt32 = 0
    for length in 1...Self.longestBits {
      code <<= 1
      first[length] = code
      offsets[length] = symbols.count
      for symbol in lengths.indices where Int(lengths[symbol]) == length {
        symbols.append(UInt16(symbol))
        if length <= Self.shortBits {
          let shift = Self.shortBits - length
          for filler in 0..<1 << shift { short[Int(code) << shift | filler] = UInt16(length << 8 | symbol) }
        }
        counts[length] += 1
        code += 1
      }
    }
    self.short = short
    self.symbols = symbols
    self.first = first
    self.counts = counts
    self.offsets = offsets
  }

  /// What `count` bytes become at most: the shortest code has 5 bits.
  static func longestText(of count: Int) -> Int { count * 8 / 5 }

  /// Decodes into `target`, which has room for `longestText`; nil: not a text of this code, or padded wrongly (§5.2).
  func decode(_ source: UnsafeRawBufferPointer, into target: UnsafeMutablePointer<UInt8>) -> Int? {
    short.withUnsafeBufferPointer { short in
      // The next bits, from the highest down; below them zeros.
      var window: UInt64 = 0
      var bits = 0
      var next = 0
      var written = 0
      while true {
        while bits <= 56, next < source.count {
          window |= UInt64(source[next]) << (56 - bits)
          bits += 8
          next += 1
        }
        let entry = Int(short[Int(window >> (64 - Self.shortBits))])
        var length = entry >> 8
        var symbol = entry & 0xff
        if length == 0 { (length, symbol) = long(window) }
        guard length <= bits else { break }
        guard symbol != Self.endOfString else { return nil }
        target[written] = UInt8(truncatingIfNeeded: symbol)
        written += 1
        window <<= UInt64(length)
        bits -= length
      }
      // The rest is padding: fewer than 8 bits, the first of the end symbol's, which are ones.
      guard bits < 8, window == ~0 << (64 - UInt64(bits)) else { return nil }
      return written
    }
  }

  private func long(_ window: UInt64) -> (length: Int, symbol: Int) {
    for length in Self.shortBits + 1...Self.longestBits {
      let index = UInt32(window >> (64 - UInt64(length))) &- first[length]
      if index < counts[length] { return (length, Int(symbols[offsets[length] + Int(index)])) }
    }
    return (Self.longestBits, Self.endOfString)
  }

  private static let lengths: [UInt8] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26, 30,
  ]
}
