/// `https://example.com:8443`, where the host may be `*` or start with `*.`, which stands for one or more labels.
public struct CORSOrigin: Sendable {
  private struct Parts {
    var isHTTPS: Bool
    var host: UnsafeRawBufferPointer
    var port: Int

    /// RFC 6454 §6.2
    init?(_ text: UnsafeRawBufferPointer) {
      if text.starts(with: "https://".utf8) {
        isHTTPS = true
      } else if text.starts(with: "http://".utf8) {
        isHTTPS = false
      } else {
        return nil
      }
      let start = isHTTPS ? 8 : 7
      var colon = text.count - 1
      while colon >= start, text[colon] &- 48 < 10 { colon -= 1 }
      let hasPort = colon >= start && text[colon] == UInt8(ascii: ":")
      host = UnsafeRawBufferPointer(rebasing: text[start..<(hasPort ? colon : text.count)])
      guard !host.isEmpty else { return nil }
      guard hasPort else {
        port = isHTTPS ? 443 : 80
        return
      }
      let digits = text[(colon + 1)...]
      guard (1...5).contains(digits.count) else { return nil }
      port = digits.reduce(0) { $0 * 10 + Int($1 - 48) }
      guard (1...65535).contains(port) else { return nil }
    }
  }

  private let isHTTPS: Bool
  private let port: Int
  /// Lower case; behind a wildcard what follows its asterisk.
  private let host: [UInt8]
  private let isWildcard: Bool

  /// nil: it isn't an origin.
  public init?(pattern: String) {
    let parsed = Array(pattern.utf8).withUnsafeBytes { bytes in
      Parts(bytes).map { (isHTTPS: $0.isHTTPS, port: $0.port, host: $0.host.map(Self.lowercase)) }
    }
    guard let parsed else { return nil }
    isWildcard = parsed.host.first == UInt8(ascii: "*")
    host = isWildcard ? Array(parsed.host.dropFirst()) : parsed.host
    isHTTPS = parsed.isHTTPS
    port = parsed.port
    guard HTTPToken.isHostname(host), !isWildcard || host.isEmpty || host.first == UInt8(ascii: ".") else { return nil }
  }

  /// - Parameter origin: the field of a request.
  public func takes(_ origin: UnsafeRawBufferPointer) -> Bool {
    guard let parts = Parts(origin), parts.isHTTPS == isHTTPS, parts.port == port else { return false }
    guard isWildcard ? parts.host.count > host.count : parts.host.count == host.count,
      HTTPToken.isHostname(parts.host)
    else { return false }
    return parts.host.suffix(host.count).lazy.map(Self.lowercase).elementsEqual(host)
  }

  private static func lowercase(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }
}
