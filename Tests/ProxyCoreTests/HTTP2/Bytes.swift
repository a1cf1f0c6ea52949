/// Bytes as the tests send them.
extension [UInt8] {
  /// In pieces of these sizes, the last size again and again.
  func cut(into sizes: [Int]) -> [[UInt8]] {
    var pieces: [[UInt8]] = []
    var rest = self[...]
    while !rest.isEmpty {
      let piece = rest.prefix(sizes[Swift.min(pieces.count, sizes.count - 1)])
      rest = rest.dropFirst(piece.count)
      pieces.append(Array(piece))
    }
    return pieces
  }

  /// With 1 to 8 bytes changed, lost or added, none of the first `start`.
  func damaged(behind start: Int, using random: inout some RandomNumberGenerator) -> [UInt8] {
    var bytes = self
    for _ in 0..<Int.random(in: 1...8, using: &random) {
      let at = Int.random(in: start..<bytes.count, using: &random)
      switch Int.random(in: 0..<4, using: &random) {
      case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
      case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2: bytes.remove(at: at)
      default: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
      }
    }
    return bytes
  }
}
