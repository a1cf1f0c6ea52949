import MeshModel

/// The sessions of one rule, or of a Service's port where no rule holds (GEP-1619). Its own alone: in a token the
/// endpoint is mixed with the rule's and its backend's identity, so that another rule's token names nothing here,
/// whatever its cookie is called.
///
/// Times are seconds since 1970 by this node's clock. Clocks of nodes differ: a token from up to `skewBound` seconds
/// ahead counts as one of now.
public struct SessionKeeper: Sendable {
  /// A request's valid token, and what it names.
  public struct Bound: Sendable, Hashable {
    public var token: SessionToken
    /// Of the rule; 0 without one.
    public var backend: Int
    public var endpoint: EndpointToken
  }

  /// Cookies or fields of the name that are looked at: rules may share one, but a request isn't to cost more for it.
  public static let candidatesBound = 8
  /// Seconds.
  public static let skewBound: UInt32 = 300

  public let settings: SessionPersistence
  private let lowercaseName: String
  /// Of each backend.
  private let scopes: [UInt64]
  /// A cookie's Path for each match of the rule.
  private let paths: [String]

  /// - Parameters:
  ///   - rule: nil: requests go to the Service itself.
  ///   - service: the parent, with its port.
  public init(_ settings: SessionPersistence, rule: CompiledRule?, service: ServiceKey, port: UInt16) {
    self.settings = settings
    lowercaseName = settings.name.lowercased()
    guard let rule else {
      scopes = [StableHash.hash("Service/\(service):\(port)")]
      paths = []
      return
    }
    let identity = rule.rule.identity(inRoute: rule.routeID, at: rule.index)
    var counts: [String: Int] = [:]
    scopes = rule.rule.backends.map { backend in
      let name = "\(backend.service):\(backend.port)"
      // The same one may stand twice, with other filters.
      let count = counts[name, default: 0]
      counts[name] = count + 1
      return StableHash.hash("\(identity) \(name) \(count)")
    }
    paths = rule.rule.matches.map { Self.cookiePath($0.path) }
  }

  // MARK: Requests

  /// The session that a request names, whatever the weights of the backends are now.
  /// - Parameter isKnown: whether that backend has that endpoint, and it may be used.
  public func find(
    in head: HTTPHead, now: UInt32, isKnown: (_ backend: Int, _ endpoint: EndpointToken) -> Bool
  ) -> Bound? {
    var left = Self.candidatesBound
    var bound: Bound?
    func isFound(_ slice: HTTPHead.Slice) -> Bool {
      left -= 1
      if let token = head.withBytes(of: slice, { SessionToken($0) }), isValid(token, now: now) {
        for (backend, scope) in scopes.enumerated() {
          let endpoint = EndpointToken(value: token.endpoint ^ scope)
          guard isKnown(backend, endpoint) else { continue }
          bound = Bound(token: token, backend: backend, endpoint: endpoint)
          return true
        }
      }
      return left == 0
    }
    guard settings.isHeader else {
      _ = Cookies.first(settings.name, in: head, where: isFound)
      return bound
    }
    var start = 0
    while let field = head.index(of: lowercaseName.utf8, from: start), !isFound(head.fields[field].value) {
      start = field + 1
    }
    return bound
  }

  /// The absolute timeout holds for session cookies and headers too, which no client lets expire (GEP-1619,
  /// "Expires / Max-Age").
  func isValid(_ token: SessionToken, now: UInt32) -> Bool {
    guard settings.absoluteTimeout != nil || settings.idleTimeout != nil else { return true }
    // Far ahead it would live for as long as it likes.
    guard token.used <= now || token.used - now <= Self.skewBound else { return false }
    if let timeout = settings.absoluteTimeout, Self.age(token.issued, now) >= timeout { return false }
    if let timeout = settings.idleTimeout, Self.age(token.used, now) > timeout { return false }
    return true
  }

  private static func age(_ time: UInt32, _ now: UInt32) -> UInt32 { now > time ? now - time : 0 }

  // MARK: Responses

  /// The token that a response has to bring; nil where the client has it. A use is noted once in a tenth of the idle
  /// timeout, so that a session ends up to a tenth early but most responses stay as they are.
  /// - Parameter session: the request's.
  public func renewal(
    of session: Bound?, backend: Int, address: SocketAddress, now: UInt32
  ) -> SessionToken? {
    let endpoint = EndpointToken(address)
    guard let session, session.backend == backend, session.endpoint == endpoint else {
      return SessionToken(endpoint: endpoint.value ^ scopes[backend], issued: now, used: now)
    }
    guard let timeout = settings.idleTimeout, Self.age(session.token.used, now) >= max(1, timeout / 10) else {
      return nil
    }
    var token = session.token
    token.used = now
    return token
  }

  /// Puts a token into a response.
  /// - Parameters:
  ///   - match: which of the rule's took the request.
  ///   - isSecure: the client came by HTTPS, so far as is known. In a mesh most don't, and a Secure cookie would never
  ///     come back.
  public func write(_ token: SessionToken, to response: inout HTTPHead, match: Int, isSecure: Bool, now: UInt32) {
    var value: [UInt8] = []
    guard !settings.isHeader else {
      value.reserveCapacity(SessionToken.length)
      token.write(to: &value)
      response.set(settings.name, String(decoding: value, as: UTF8.self))
      return
    }
    value.reserveCapacity(256)
    value += settings.name.utf8
    value.append(UInt8(ascii: "="))
    token.write(to: &value)
    if settings.isPermanent, let timeout = settings.absoluteTimeout {
      let age = Self.age(token.issued, now)
      value += "; Max-Age=\(timeout > age ? timeout - age : 1)".utf8
    }
    value += "; Path=".utf8
    value += (paths.indices.contains(match) ? paths[match] : "/").utf8
    value += "; HttpOnly; SameSite=Strict".utf8
    if isSecure { value += "; Secure".utf8 }
    response.append(name: "set-cookie".utf8, value: value)
  }

  /// The Path of the match that took the request: of a regular expression the whole segments that it begins with
  /// (GEP-1619, "Path"). What would end the attribute (RFC 6265 §4.1.1) isn't taken, nor is the rest of its segment.
  static func cookiePath(_ path: RouteMatch.Path) -> String {
    let bytes: [UInt8]
    switch path {
    case .exact(let text), .prefix(let text):
      bytes = Array(text.utf8)
      if let first = bytes.first, first == UInt8(ascii: "/"), bytes.allSatisfy(isPathByte) { return text }
    case .regularExpression(let pattern): bytes = (try? RegularExpression(pattern))?.literalPrefix ?? []
    }
    let plain = bytes.prefix(while: isPathByte)
    guard plain.first == UInt8(ascii: "/"), let slash = plain.lastIndex(of: UInt8(ascii: "/")), slash > 0 else {
      return "/"
    }
    return String(decoding: plain[..<slash], as: UTF8.self)
  }

  private static func isPathByte(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7f && byte != UInt8(ascii: ";") }
}
