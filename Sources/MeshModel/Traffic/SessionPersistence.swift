/// What keeps a client's requests at one endpoint: the `sessionPersistence` of a rule (GEP-1619) or of a TrafficPolicy.
/// The first response brings a token, as a cookie or in a header, and requests that bring it back go to the endpoint it
/// names.
public struct SessionPersistence: Hashable, Sendable {
  /// The cookie's, or the header's; a token of RFC 9110.
  public var name: String
  public var isHeader: Bool
  /// Seconds from a session's first response to its end; nil: without end. At least 1.
  public var absoluteTimeout: UInt32?
  /// Seconds without a request after which a session ends; nil: never. At least 1.
  public var idleTimeout: UInt32?
  /// The cookie has a Max-Age, the absolute timeout, which has to be there; else it ends with the browser's session.
  public var isPermanent: Bool

  public init(
    name: String, isHeader: Bool = false, absoluteTimeout: UInt32? = nil, idleTimeout: UInt32? = nil,
    isPermanent: Bool = false
  ) {
    self.name = name
    self.isHeader = isHeader
    self.absoluteTimeout = absoluteTimeout
    self.idleTimeout = idleTimeout
    self.isPermanent = isPermanent
  }

  /// The name where none is given, one for each rule (GEP-1619, "Name"): 29 characters, by FNV-1a of its identity.
  public static func defaultName(ofRule identity: String) -> String {
    let hash = identity.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    let digits = String(hash, radix: 16)
    return "weft-session-" + String(repeating: "0", count: 16 - digits.count) + digits
  }
}

extension RouteRule {
  /// What tells a route's rule from all others of the mesh: by its name, where it has one, so that it may move within
  /// its route.
  /// - Parameter index: in the route.
  public func identity(inRoute id: String, at index: Int) -> String {
    name.isEmpty ? "\(id)#\(index)" : "\(id)/\(name)"
  }
}
