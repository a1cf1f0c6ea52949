/// What a filter may write into a message. The control plane refuses the rest in a route's status, the proxy by a 500:
/// both ask here. An answer is a sentence that says why not; nil: it may.
extension HeaderEdit {
  /// They say where a message ends and what its connection does: set by the proxy alone (RFC 9110 §7.6.1, RFC 9112 §6).
  private static let refused: Set<String> = [
    "connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
  ]

  /// Of a field to set, to add or to remove, in any case.
  public static func problem(withName name: String) -> String? {
    guard HTTPToken.isToken(name) else { return "\"\(name)\" isn't the name of a header" }
    return refused.contains(name.lowercased()) ? "the header \(name) is the proxy's own to set" : nil
  }
}

extension PathModifier {
  /// A path as it stands in a request's target (RFC 3986 §3.3): visible ASCII without `?` and `#`.
  public var problem: String? {
    let text: String
    switch self {
    case .replaceFull(let path), .replacePrefix(let path): text = path
    }
    let isPath = text.utf8.allSatisfy {
      $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#")
    }
    return isPath ? nil : "\"\(text)\" isn't a path: it has to be visible ASCII without ? and #"
  }
}

extension CORS {
  /// Of an element of `allowOrigins`.
  public static func problem(withOrigin text: String) -> String? {
    text == "*" || CORSOrigin(pattern: text) != nil
      ? nil : "\"\(text)\" isn't an origin: it has to be *, or http:// or https:// with a host"
  }
}
