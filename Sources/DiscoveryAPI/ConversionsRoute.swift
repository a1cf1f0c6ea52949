import MeshModel

extension Weft_Mesh_V1_Route {
  public static let typeURL = "type.googleapis.com/weft.mesh.v1.Route"

  public init(_ route: Route) {
    self.init()
    kind =
      switch route.kind {
      case .http: .httpRoute
      case .grpc: .grpcRoute
      case .tcp: .tcpRoute
      case .tls: .tlsRoute
      }
    namespace = route.namespace
    name = route.name
    created = route.created
    parents = route.parents.map { parent in
      .with {
        $0.service = parent.service.description
        if let port = parent.port { $0.port = UInt32(port) }
      }
    }
    hostnames = route.hostnames
    rules = route.rules.map { Weft_Mesh_V1_RouteRule($0) }
  }
}

extension Weft_Mesh_V1_RouteRule {
  fileprivate init(_ rule: RouteRule) {
    self.init()
    name = rule.name
    matches = rule.matches.map { Weft_Mesh_V1_RouteMatch($0) }
    filters = rule.filters.map { Weft_Mesh_V1_RouteFilter($0) }
    backends = rule.backends.map { backend in
      .with {
        $0.service = backend.service.description
        $0.port = UInt32(backend.port)
        $0.weight = backend.weight
        $0.filters = backend.filters.map { Weft_Mesh_V1_RouteFilter($0) }
        $0.invalid = backend.invalid
      }
    }
    if let time = rule.requestTimeout { requestTimeout = time }
    if let time = rule.backendRequestTimeout { backendRequestTimeout = time }
    if let policy = rule.retry { retry = Weft_Mesh_V1_RetryPolicy(policy) }
    if let session = rule.sessionPersistence { sessionPersistence = Weft_Mesh_V1_SessionPersistence(session) }
  }
}

extension Weft_Mesh_V1_RouteMatch {
  fileprivate init(_ match: RouteMatch) {
    self.init()
    path =
      switch match.path {
      case .exact(let text): .exact(text)
      case .prefix(let text): .prefix(text)
      case .regularExpression(let text): .regularExpression(text)
      }
    headers = match.headers.map { Weft_Mesh_V1_ValueMatch($0) }
    queryParameters = match.queryParameters.map { Weft_Mesh_V1_ValueMatch($0) }
    method = match.method
    serviceCharacters = match.serviceLength
    methodCharacters = match.methodLength
  }
}

extension Weft_Mesh_V1_ValueMatch {
  init(_ value: RouteMatch.Value) {
    self.init()
    name = value.name
    self.value = value.value
    isRegularExpression = value.isRegularExpression
  }
}

extension Route {
  /// Checks every field: lists of at most 1,000, text of at most 1 KiB, times of at most 1193 h.
  public init(_ message: Weft_Mesh_V1_Route) throws(InvalidResource) {
    let check = Check(resource: "route \(message.namespace.prefix(63))/\(message.name.prefix(253))")
    let kind: Kind
    switch message.kind {
    case .httpRoute: kind = .http
    case .grpcRoute: kind = .grpc
    case .tcpRoute: kind = .tcp
    case .tlsRoute: kind = .tls
    case .UNRECOGNIZED(let number): throw check.error("kind", "\(number) is not known")
    }
    try check(DNSName.isLabel(message.namespace), "namespace", "is not a DNS label")
    try check(DNSName.isSubdomain(message.name), "name", "is not a DNS subdomain")
    self.init(
      kind: kind, namespace: message.namespace, name: message.name, created: message.created,
      parents: try check.list(message.parents, "parents") { (parent) throws(InvalidResource) in
        Parent(
          service: try check.service(parent.service, "parents.service"),
          port: parent.hasPort ? try check.port(parent.port, "parents.port") : nil)
      },
      hostnames: try check.list(message.hostnames, "hostnames") { (name) throws(InvalidResource) in
        try check.hostname(name, "hostnames")
      },
      rules: try check.list(message.rules, "rules") { (rule) throws(InvalidResource) in try check.rule(rule) })
  }
}

extension Check {
  fileprivate func rule(_ message: Weft_Mesh_V1_RouteRule) throws(InvalidResource) -> RouteRule {
    RouteRule(
      name: try text(message.name, "rules.name"),
      matches: try list(message.matches, "rules.matches") { (match) throws(InvalidResource) in try self.match(match) },
      filters: try filters(message.filters, "rules.filters"),
      backends: try list(message.backends, "rules.backends") { (backend) throws(InvalidResource) in
        try self.backend(backend)
      },
      requestTimeout: message.hasRequestTimeout ? try time(message.requestTimeout, "rules.request_timeout") : nil,
      backendRequestTimeout: message.hasBackendRequestTimeout
        ? try time(message.backendRequestTimeout, "rules.backend_request_timeout") : nil,
      retry: message.hasRetry ? try retry(message.retry, "rules.retry") : nil,
      sessionPersistence: message.hasSessionPersistence
        ? try sessionPersistence(message.sessionPersistence, "rules.session_persistence") : nil)
  }

  private func match(_ message: Weft_Mesh_V1_RouteMatch) throws(InvalidResource) -> RouteMatch {
    let path: RouteMatch.Path
    switch message.path {
    case .exact(let value): path = .exact(try absolutePath(value))
    case .prefix(let value):
      path = .prefix(try absolutePath(value))
      try self(value == "/" || !value.hasSuffix("/"), "rules.matches.prefix", "ends with a slash")
    case .regularExpression(let value):
      path = .regularExpression(try regularExpression(value, "rules.matches.regular_expression"))
    case nil: throw error("rules.matches.path", "is missing")
    }
    return RouteMatch(
      path: path,
      headers: try list(message.headers, "rules.matches.headers") { (header) throws(InvalidResource) in
        try self.header(header, "rules.matches.headers")
      },
      queryParameters: try list(message.queryParameters, "rules.matches.query_parameters") {
        (parameter) throws(InvalidResource) in
        try self(!parameter.name.isEmpty, "rules.matches.query_parameters.name", "is empty")
        return try self.value(parameter, "rules.matches.query_parameters")
      },
      method: message.method.isEmpty ? "" : try token(message.method, "rules.matches.method"),
      serviceLength: message.serviceCharacters, methodLength: message.methodCharacters)
  }

  private func absolutePath(_ value: String) throws(InvalidResource) -> String {
    try self(value.hasPrefix("/"), "rules.matches.path", "doesn't begin with a slash")
    return try text(value, "rules.matches.path")
  }

  func regularExpression(_ value: String, _ field: @autoclosure () -> String) throws(InvalidResource) -> String {
    try self(!value.isEmpty, field(), "is empty")
    do { _ = try RegularExpression(value) } catch { throw self.error(field(), error.description) }
    return try text(value, field())
  }

  private func value(
    _ message: Weft_Mesh_V1_ValueMatch, _ field: @autoclosure () -> String
  ) throws(InvalidResource) -> RouteMatch.Value {
    RouteMatch.Value(
      name: try text(message.name, "\(field()).name"),
      value: message.isRegularExpression
        ? try regularExpression(message.value, "\(field()).value")
        : try text(message.value, "\(field()).value", upTo: Self.maximumValue),
      isRegularExpression: message.isRegularExpression)
  }

  func header(
    _ message: Weft_Mesh_V1_ValueMatch, _ field: @autoclosure () -> String
  ) throws(InvalidResource) -> RouteMatch.Value {
    try lowerCaseName(message.name, "\(field()).name")
    return try value(message, field())
  }

  func lowerCaseName(_ name: String, _ field: @autoclosure () -> String) throws(InvalidResource) {
    try self(try token(name, field()) == name.lowercased(), field(), "is not lower case")
  }

  private func backend(_ message: Weft_Mesh_V1_RouteBackend) throws(InvalidResource) -> RouteBackend {
    let (service, port) = try reference(message.service, message.port, message.invalid, "rules.backends")
    return RouteBackend(
      service: service, port: port, weight: try number(message.weight, 0...1_000_000, "rules.backends.weight"),
      filters: try filters(message.filters, "rules.backends.filters"),
      invalid: try text(message.invalid, "rules.backends.invalid"))
  }

  /// An invalid one need not name what could be a Service or a port.
  func reference(
    _ service: String, _ port: UInt32, _ invalid: String, _ field: @autoclosure () -> String
  ) throws(InvalidResource) -> (ServiceKey, UInt16) {
    guard invalid.isEmpty else {
      return (ServiceKey(service) ?? ServiceKey(namespace: "", name: ""), UInt16(exactly: port) ?? 0)
    }
    return (try self.service(service, "\(field()).service"), try self.port(port, "\(field()).port"))
  }
}
