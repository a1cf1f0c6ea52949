/// Reads a ClientHello (RFC 8446 §4.1.2) out of the TLS records that begin a connection. What is malformed is opaque.
enum ClientHelloReader {
  /// Of a record's payload (RFC 8446 §5.1).
  private static let maximumRecord = 16 << 10
  /// Protocols offered that are kept.
  private static let maximumProtocols = 32

  /// - Parameter bytes: from the connection's start; at most `ProtocolSniffer.limit`.
  /// - Returns: nil: it takes more to decide.
  static func verdict(_ bytes: UnsafeRawBufferPointer) -> SniffedProtocol? {
    // The message may lie in several records, even its length.
    return withUnsafeTemporaryAllocation(byteCount: bytes.count, alignment: 1) { message in
      var used = 0
      var index = 0
      while index < bytes.count {
        guard bytes[index] == 0x16 else { return .opaque }
        if index + 1 < bytes.count, bytes[index + 1] != 3 { return .opaque }
        guard index + 5 <= bytes.count else { return nil }
        let length = Int(bytes[index + 3]) << 8 | Int(bytes[index + 4])
        guard (1...maximumRecord).contains(length) else { return .opaque }
        index += 5
        let here = min(length, bytes.count - index)
        UnsafeMutableRawBufferPointer(rebasing: message[used..<used + here])
          .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[index..<index + here]))
        used += here
        index += here
        if used > 0, message[0] != 1 { return .opaque }
        guard used >= 4 else { continue }
        let total = 4 + (Int(message[1]) << 16 | Int(message[2]) << 8 | Int(message[3]))
        guard total <= ProtocolSniffer.limit else { return .opaque }
        if used >= total {
          var reader = ByteReader(UnsafeRawBufferPointer(rebasing: message[4..<total]))
          return hello(&reader) ?? .opaque
        }
      }
      return nil
    }
  }

  /// nil: malformed.
  private static func hello(_ reader: inout ByteReader) -> SniffedProtocol? {
    // Version and random, session, cipher suites, compression.
    guard reader.take(34) != nil, let session = reader.vector(1), session.count <= 32,
      let suites = reader.vector(2), suites.count >= 2, suites.count % 2 == 0,
      let compression = reader.vector(1), !compression.isEmpty
    else { return nil }
    guard !reader.isEmpty else { return .tls(serverName: nil, alpn: []) }
    guard var extensions = reader.extensions() else { return nil }
    var serverName: String?
    var alpn: [String] = []
    var hasName = false
    var hasProtocols = false
    while !extensions.isEmpty {
      guard let type = extensions.integer(2), var body = extensions.vector(2).map(ByteReader.init) else { return nil }
      switch type {
      case 0:
        guard !hasName, let name = self.serverName(&body) else { return nil }
        hasName = true
        serverName = name
      case 16:
        guard !hasProtocols, let protocols = protocols(&body) else { return nil }
        hasProtocols = true
        alpn = protocols
      default: break
      }
    }
    return .tls(serverName: serverName, alpn: alpn)
  }

  /// RFC 6066 §3. nil: malformed.
  private static func serverName(_ body: inout ByteReader) -> String? {
    guard var list = body.vector(2).map(ByteReader.init), body.isEmpty, !list.isEmpty else { return nil }
    var found: String?
    while !list.isEmpty {
      guard let type = list.integer(1), var name = list.vector(2) else { return nil }
      guard type == 0 else { continue }
      if name.last == UInt8(ascii: "."), name.count > 1 { name = UnsafeRawBufferPointer(rebasing: name.dropLast()) }
      guard found == nil, (1...255).contains(name.count), name.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
        return nil
      }
      found = String(decoding: name.lazy.map(\.asciiLowercase), as: UTF8.self)
    }
    return found
  }

  /// RFC 7301 §3.1. nil: malformed.
  private static func protocols(_ body: inout ByteReader) -> [String]? {
    guard var list = body.vector(2).map(ByteReader.init), body.isEmpty, !list.isEmpty else { return nil }
    var result: [String] = []
    while !list.isEmpty {
      guard let name = list.vector(1), !name.isEmpty else { return nil }
      if result.count < maximumProtocols { result.append(String(decoding: name, as: UTF8.self)) }
    }
    return result
  }
}

/// Reads integers and vectors with a length in front (RFC 8446 §3).
private struct ByteReader {
  private let bytes: UnsafeRawBufferPointer
  private var index = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var isEmpty: Bool { index == bytes.count }

  mutating func take(_ count: Int) -> UnsafeRawBufferPointer? {
    guard bytes.count - index >= count else { return nil }
    defer { index += count }
    return UnsafeRawBufferPointer(rebasing: bytes[index..<index + count])
  }

  mutating func integer(_ size: Int) -> Int? { take(size)?.reduce(0) { $0 << 8 | Int($1) } }

  /// - Parameter size: of its length, in bytes.
  mutating func vector(_ size: Int) -> UnsafeRawBufferPointer? { integer(size).flatMap { take($0) } }

  /// All that is left, which has to be one vector.
  mutating func extensions() -> ByteReader? {
    guard let body = vector(2), isEmpty else { return nil }
    return ByteReader(body)
  }
}
