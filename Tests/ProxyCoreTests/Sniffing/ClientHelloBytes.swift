/// Makes ClientHellos.
struct ClientHelloBytes {
  var serverName: String?
  var alpn: [String] = []
  /// Further extensions: type and body.
  var others: [(Int, [UInt8])] = [(0x2B, [2, 3, 4]), (0x0A, [0, 2, 0, 29])]

  static func vector(_ size: Int, _ body: [UInt8]) -> [UInt8] {
    (0..<size).reversed().map { UInt8(truncatingIfNeeded: body.count >> (8 * $0)) } + body
  }

  var extensions: [UInt8] {
    var all = others
    if let serverName {
      all.insert((0, Self.vector(2, [0] + Self.vector(2, Array(serverName.utf8)))), at: min(1, all.count))
    }
    if !alpn.isEmpty { all.append((16, Self.vector(2, alpn.flatMap { Self.vector(1, Array($0.utf8)) }))) }
    return all.flatMap { type, body in [UInt8(type >> 8), UInt8(type & 255)] + Self.vector(2, body) }
  }

  var message: [UInt8] { message(extensions: Self.vector(2, extensions)) }

  func message(extensions: [UInt8]) -> [UInt8] {
    var body: [UInt8] = [3, 3] + Array(repeating: 7, count: 32)
    body += Self.vector(1, Array(repeating: 9, count: 32)) + Self.vector(2, [0x13, 0x01, 0x13, 0x02])
    body += Self.vector(1, [0]) + extensions
    return [1] + Self.vector(3, body)
  }

  /// The message in records of at most so many bytes.
  func records(of size: Int = 1 << 14) -> [UInt8] { Self.records(message, of: size) }

  static func records(_ message: [UInt8], of size: Int = 1 << 14) -> [UInt8] {
    stride(from: 0, to: message.count, by: size).flatMap { start in
      [0x16, 3, 1] + vector(2, Array(message[start..<min(start + size, message.count)]))
    }
  }
}
