/// What a rule or a backend does to its requests (Gateway API v1 HTTPRouteFilter).
public enum RouteFilter: Hashable, Sendable {
  case requestHeaders(HeaderEdit)
  case responseHeaders(HeaderEdit)
  case redirect(Redirect)
  case rewrite(Rewrite)
  case mirror(Mirror)
  case cors(CORS)
}

/// Applied in this order: set, add, remove.
public struct HeaderEdit: Hashable, Sendable {
  public struct Field: Hashable, Sendable {
    public var name: String
    public var value: String

    public init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  public var set: [Field]
  public var add: [Field]
  public var remove: [String]

  public init(set: [Field] = [], add: [Field] = [], remove: [String] = []) {
    self.set = set
    self.add = add
    self.remove = remove
  }
}

public enum PathModifier: Hashable, Sendable {
  case replaceFull(String)
  /// In place of the prefix that the rule's match took.
  case replacePrefix(String)
}

public struct Redirect: Hashable, Sendable {
  /// Empty: the request's own.
  public var scheme: String
  public var hostname: String
  public var port: UInt16?
  public var path: PathModifier?
  /// 301, 302, 303, 307 or 308.
  public var status: Int

  public init(
    scheme: String = "", hostname: String = "", port: UInt16? = nil, path: PathModifier? = nil, status: Int = 302
  ) {
    self.scheme = scheme
    self.hostname = hostname
    self.port = port
    self.path = path
    self.status = status
  }
}

public struct Rewrite: Hashable, Sendable {
  /// Empty: the request's own.
  public var hostname: String
  public var path: PathModifier?

  public init(hostname: String = "", path: PathModifier? = nil) {
    self.hostname = hostname
    self.path = path
  }
}

/// A copy of the request whose answer nobody sees.
public struct Mirror: Hashable, Sendable {
  public var service: ServiceKey
  public var port: UInt16
  /// Of `denominator` requests so many are copied.
  public var numerator: UInt32
  public var denominator: UInt32
  /// As in `RouteBackend`: such a mirror gets nothing.
  public var invalid: String

  public init(
    service: ServiceKey, port: UInt16, numerator: UInt32 = 100, denominator: UInt32 = 100, invalid: String = ""
  ) {
    self.service = service
    self.port = port
    self.numerator = numerator
    self.denominator = denominator
    self.invalid = invalid
  }
}

/// The Fetch standard's CORS protocol, as the Gateway API's HTTPCORSFilter says it.
public struct CORS: Hashable, Sendable {
  /// `*`, `https://example.com`, `https://*.example.com`.
  public var allowOrigins: [String]
  public var allowCredentials: Bool
  public var allowMethods: [String]
  public var allowHeaders: [String]
  public var exposeHeaders: [String]
  /// Seconds.
  public var maxAge: UInt32

  public init(
    allowOrigins: [String] = [], allowCredentials: Bool = false, allowMethods: [String] = [],
    allowHeaders: [String] = [], exposeHeaders: [String] = [], maxAge: UInt32 = 5
  ) {
    self.allowOrigins = allowOrigins
    self.allowCredentials = allowCredentials
    self.allowMethods = allowMethods
    self.allowHeaders = allowHeaders
    self.exposeHeaders = exposeHeaders
    self.maxAge = maxAge
  }
}
