/// One HTTPRoute, GRPCRoute, TCPRoute or TLSRoute of the Gateway API (v1) with Services as parents, its references
/// resolved by the control plane. A GRPCRoute's methods have become paths.
public struct Route: Hashable, Sendable, Identifiable {
  public enum Kind: UInt8, Hashable, Sendable { case http, grpc, tcp, tls }

  public struct Parent: Hashable, Sendable {
    public var service: ServiceKey
    /// nil: all ports of the Service.
    public var port: UInt16?

    public init(service: ServiceKey, port: UInt16? = nil) {
      self.service = service
      self.port = port
    }
  }

  public var kind: Kind
  public var namespace: String
  public var name: String
  /// `metadata.creationTimestamp` in seconds since 1970; 0 where unknown. The oldest of equal routes wins.
  public var created: Int64
  public var parents: [Parent]
  /// Lower case; `*.example.com` stands for one or more labels. Empty: any.
  public var hostnames: [String]
  /// In the order of the object.
  public var rules: [RouteRule]

  /// `HTTPRoute/shop/reviews`: unique in the mesh.
  public var id: String { "\(kind.objectKind)/\(namespace)/\(name)" }

  /// A route from another namespace than its parent's serves clients of its own namespace only (GEP-1426).
  public func isConsumer(of parent: Parent) -> Bool { namespace != parent.service.namespace }

  public init(
    kind: Kind = .http, namespace: String, name: String, created: Int64 = 0, parents: [Parent],
    hostnames: [String] = [], rules: [RouteRule] = []
  ) {
    self.kind = kind
    self.namespace = namespace
    self.name = name
    self.created = created
    self.parents = parents
    self.hostnames = hostnames
    self.rules = rules
  }
}

extension Route.Kind {
  public var objectKind: String {
    switch self {
    case .http: "HTTPRoute"
    case .grpc: "GRPCRoute"
    case .tcp: "TCPRoute"
    case .tls: "TLSRoute"
    }
  }
}

public struct RouteRule: Hashable, Sendable {
  /// Empty where the object gives none.
  public var name: String
  /// Any of them; empty: everything.
  public var matches: [RouteMatch]
  /// In the order of the object.
  public var filters: [RouteFilter]
  public var backends: [RouteBackend]
  /// `timeouts.request`, in milliseconds; 0: none; nil: not said.
  public var requestTimeout: UInt32?
  /// `timeouts.backendRequest`: of each try.
  public var backendRequestTimeout: UInt32?
  public var retry: RetryPolicy?
  public var sessionPersistence: SessionPersistence?

  public init(
    name: String = "", matches: [RouteMatch] = [], filters: [RouteFilter] = [], backends: [RouteBackend] = [],
    requestTimeout: UInt32? = nil, backendRequestTimeout: UInt32? = nil, retry: RetryPolicy? = nil,
    sessionPersistence: SessionPersistence? = nil
  ) {
    self.name = name
    self.matches = matches
    self.filters = filters
    self.backends = backends
    self.requestTimeout = requestTimeout
    self.backendRequestTimeout = backendRequestTimeout
    self.retry = retry
    self.sessionPersistence = sessionPersistence
  }
}

/// All of its conditions together.
public struct RouteMatch: Hashable, Sendable {
  public enum Path: Hashable, Sendable {
    case exact(String)
    /// Whole segments: `/a` takes `/a` and `/a/b`, not `/ab`. Without a slash at its end, unless it is `/`.
    case prefix(String)
    /// Matches the whole path.
    case regularExpression(String)
  }

  /// A header or a query parameter. Names of headers are lower case.
  public struct Value: Hashable, Sendable {
    public var name: String
    public var value: String
    public var isRegularExpression: Bool

    public init(name: String, value: String, isRegularExpression: Bool = false) {
      self.name = name
      self.value = value
      self.isRegularExpression = isRegularExpression
    }
  }

  public var path: Path
  public var headers: [Value]
  public var queryParameters: [Value]
  /// Empty: any.
  public var method: String
  /// Of a GRPCRoute's match, which goes by them: characters of its service, and of its method; 0 where it names none.
  public var serviceLength: UInt32
  public var methodLength: UInt32

  public init(
    path: Path = .prefix("/"), headers: [Value] = [], queryParameters: [Value] = [], method: String = "",
    serviceLength: UInt32 = 0, methodLength: UInt32 = 0
  ) {
    self.path = path
    self.headers = headers
    self.queryParameters = queryParameters
    self.method = method
    self.serviceLength = serviceLength
    self.methodLength = methodLength
  }
}

/// Where a rule's requests go, in proportion to the weights.
public struct RouteBackend: Hashable, Sendable {
  public var service: ServiceKey
  public var port: UInt16
  /// 0 to 1,000,000.
  public var weight: UInt32
  public var filters: [RouteFilter]
  /// Why its share of requests is answered by 500: no such Service or port, no ReferenceGrant. Empty: valid.
  public var invalid: String

  public init(service: ServiceKey, port: UInt16, weight: UInt32 = 1, filters: [RouteFilter] = [], invalid: String = "")
  {
    self.service = service
    self.port = port
    self.weight = weight
    self.filters = filters
    self.invalid = invalid
  }
}
