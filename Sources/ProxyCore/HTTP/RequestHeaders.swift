import MeshModel

/// What the proxy says about a request to its upstream, by Envoy's conventions.
public enum RequestHeaders {
  /// Adds `x-forwarded-for` (the client behind those that are named), `x-forwarded-proto`, `x-request-id` (a UUID,
  /// version 4, where there is none) and `via` (RFC 9110 §7.6.3), as far as the options say.
  /// - Parameter version: of the request as the client sent it.
  public static func prepare(
    _ head: inout HTTPHead, clientAddress: SocketAddress, version: HTTPVersion, options: HeaderOptions,
    random: inout some RandomNumberGenerator
  ) {
    if options.forwardedFor {
      appendForwardedFor(&head, clientAddress.ip)
      if head.index(of: "x-forwarded-proto") == nil {
        head.append(name: "x-forwarded-proto".utf8, value: "http".utf8)
      }
    }
    if options.requestID, head.index(of: "x-request-id") == nil {
      head.append(name: "x-request-id".utf8, value: UUIDText(&random))
    }
    if options.via { head.append(name: "via".utf8, value: version.via.utf8) }
  }

  private static func appendForwardedFor(_ head: inout HTTPHead, _ ip: IPAddress) {
    guard var index = head.index(of: "x-forwarded-for") else {
      return head.append(name: "x-forwarded-for".utf8, value: ip.description.utf8)
    }
    // Several fields are one list (RFC 9110 §5.3): the client's address goes behind all of it.
    while let later = head.index(of: "x-forwarded-for", from: index + 1) { index = later }
    head.extend(field: index, with: ", \(ip.description)".utf8)
  }
}

/// The text of a random UUID (RFC 9562 §5.4) without a string.
struct UUIDText: Sequence, IteratorProtocol {
  private let high: UInt64
  private let low: UInt64
  private var index = 0

  init(_ random: inout some RandomNumberGenerator) {
    high = random.next() & ~0xf000 | 0x4000
    low = random.next() & ~(0b11 << 62) | 0b10 << 62
  }

  mutating func next() -> UInt8? {
    guard index < 36 else { return nil }
    defer { index += 1 }
    if index == 8 || index == 13 || index == 18 || index == 23 { return UInt8(ascii: "-") }
    let digit = index - (index > 23 ? 4 : index > 18 ? 3 : index > 13 ? 2 : index > 8 ? 1 : 0)
    let word = digit < 16 ? high : low
    let value = UInt8(truncatingIfNeeded: word >> UInt64(60 - 4 * (digit & 15))) & 15
    return value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
  }
}
