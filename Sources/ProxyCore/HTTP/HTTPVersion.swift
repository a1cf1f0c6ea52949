/// The version of a message as it was received.
public enum HTTPVersion: Sendable, Hashable {
  case http10, http11, http2

  /// The member that this hop adds to `via`; HTTP is left out before the version (RFC 9110 §7.6.3).
  public var via: String {
    switch self {
    case .http10: "1.0 weft"
    case .http11: "1.1 weft"
    case .http2: "2 weft"
    }
  }
}
