import MeshModel

/// What a connection speaks, from its first bytes.
public enum SniffedProtocol: Sendable, Equatable {
  case http1
  /// With prior knowledge (RFC 9113 §3.3).
  case http2
  /// A ClientHello: the server's name in lower case, without the root's dot, and the protocols that it offers (RFC 7301).
  case tls(serverName: String?, alpn: [String])
  /// Something else, or something broken.
  case opaque
}

/// Decides a connection's protocol from the bytes that the client sends first, however they are split.
public struct ProtocolSniffer: Sendable {
  /// Bytes looked at: beyond them it is opaque.
  public static let limit = 16 << 10

  private var bytes: [UInt8] = []
  private var verdict: SniffedProtocol?

  public init() {}

  /// Takes the next bytes.
  /// - Returns: nil: it takes more to decide. Once decided the verdict stays.
  public mutating func feed(_ new: UnsafeRawBufferPointer) -> SniffedProtocol? {
    if let verdict { return verdict }
    bytes.append(contentsOf: new.prefix(Self.limit - bytes.count))
    verdict = bytes.withUnsafeBytes(Self.verdict)
    if verdict != nil { bytes = [] }
    return verdict
  }

  /// Of all bytes so far, for a caller that keeps them itself.
  /// - Returns: nil: it takes more to decide.
  public static func verdict(_ bytes: UnsafeRawBufferPointer) -> SniffedProtocol? {
    let bytes = UnsafeRawBufferPointer(rebasing: bytes.prefix(limit))
    guard let first = bytes.first else { return nil }
    let decided: SniffedProtocol?
    if first == 0x16 {
      decided = ClientHelloReader.verdict(bytes)
    } else if let isPreface = isPreface(bytes) {
      decided = isPreface ? .http2 : RequestLineReader.verdict(bytes)
    } else {
      decided = nil
    }
    return decided ?? (bytes.count == limit ? .opaque : nil)
  }

  private static let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

  /// nil: so far it is.
  private static func isPreface(_ bytes: UnsafeRawBufferPointer) -> Bool? {
    let preface = UnsafeRawBufferPointer(start: Self.preface.utf8Start, count: Self.preface.utf8CodeUnitCount)
    let isSame = bytes.prefix(preface.count).elementsEqual(preface.prefix(bytes.count))
    return isSame ? bytes.count < preface.count ? nil : true : false
  }
}

/// Tells a request line of HTTP/1 (RFC 9112 §3) from other protocols of lines, as SMTP's `EHLO name` and Redis' `GET key`.
enum RequestLineReader {
  /// Of a method, in bytes.
  private static let maximumMethod = 32

  /// nil: it takes more to decide.
  static func verdict(_ bytes: UnsafeRawBufferPointer) -> SniffedProtocol? {
    var start = 0
    // A client may send an empty line first (RFC 9112 §2.2).
    if bytes[0] == UInt8(ascii: "\r") {
      guard bytes.count > 1 else { return nil }
      guard bytes[1] == UInt8(ascii: "\n") else { return .opaque }
      start = 2
    }
    var index = start
    while index < bytes.count, HTTPToken.isTokenCharacter(bytes[index]), index - start <= maximumMethod { index += 1 }
    guard index - start <= maximumMethod else { return .opaque }
    guard index < bytes.count else { return nil }
    guard bytes[index] == UInt8(ascii: " "), index > start else { return .opaque }
    index += 1
    guard index < bytes.count else { return nil }
    if bytes[index] == UInt8(ascii: "/"), isKnown(bytes[start..<index - 1]) { return .http1 }
    // The line's end names the version. A control character ends it too, so that splitting the bytes changes nothing.
    guard let end = bytes[index...].firstIndex(where: { $0 < 0x20 && $0 != UInt8(ascii: "\r") }) else { return nil }
    guard bytes[end] == UInt8(ascii: "\n") else { return .opaque }
    var line = bytes[index..<end]
    if line.last == UInt8(ascii: "\r") { line.removeLast() }
    guard let minor = line.popLast(), minor &- 48 < 10 else { return .opaque }
    return line.suffix(8).elementsEqual(" HTTP/1.".utf8) ? .http1 : .opaque
  }

  private static let methods = ["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "TRACE"].map {
    Array($0.utf8)
  }

  private static func isKnown(_ method: Slice<UnsafeRawBufferPointer>) -> Bool {
    methods.contains { method.elementsEqual($0) }
  }
}
