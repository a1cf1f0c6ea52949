import MeshModel

/// HTTPRoute, GRPCRoute, TCPRoute and TLSRoute. What the Gateway API's CRDs refuse is refused here; what they let pass
/// and Weft can't do becomes a condition.
struct RouteDecoder {
  let kind: Route.Kind
  let metadata: ObjectMetadata

  /// The CRD's bounds; of rules it allows 16, and 128 matches in all.
  static let maximumParents = 32
  static let maximumHostnames = 16
  static let maximumRules = 128
  static let maximumMatches = 64
  static let maximumBackends = 16
  static let maximumSessionName = 128

  private var isHTTP: Bool { kind == .http || kind == .grpc }

  /// The route, and what of it has no effect.
  func decode(_ fields: Fields) throws(ConfigProblem) -> (RouteObject, note: String) {
    let schema = kind == .tcp ? Schemas.streamRouteSpec : Schemas.hostRouteSpec
    let spec = try fields.required("spec").fields(schema)
    var route = RouteObject(kind: kind, created: try metadata.created())
    let foreign = try decodeParents(spec, into: &route)
    for field in try spec["hostnames"]?.list(upTo: Self.maximumHostnames) ?? [] {
      route.hostnames.append(try field.hostname(wildcard: true))
    }
    let rules = try spec["rules"]?.list(upTo: Self.maximumRules) ?? []
    guard isHTTP || !rules.isEmpty else { throw (spec["rules"] ?? spec.parent).problem("has no rules") }
    guard isHTTP || rules.count == 1 else {
      throw rules[1].problem("a \(kind.objectKind) has one rule: nothing tells the connections of a second one apart")
    }
    var names: Set<String> = []
    for field in rules {
      let rule = try decodeRule(field, into: &route)
      guard rule.name.isEmpty || names.insert(rule.name).inserted else {
        throw field.problem("the name \"\(rule.name)\" stands twice")
      }
      route.rules.append(rule)
    }
    // Without rules the CRD's default holds: one that takes everything.
    if kind == .http, spec["rules"] == nil { route.rules.append(RouteRule(matches: [RouteMatch()])) }
    return (
      route, foreign.isEmpty ? "" : "ignored: its parents \(foreign.joined(separator: ", ")); only Services are Weft's"
    )
  }

  /// Returns the parents that aren't Services.
  private func decodeParents(_ spec: Fields, into route: inout RouteObject) throws(ConfigProblem) -> [String] {
    var foreign: [String] = []
    for field in try spec["parentRefs"]?.list(upTo: Self.maximumParents) ?? [] {
      let ref = try field.fields(Schemas.parentRef)
      let name = try ref.required("name").subdomain()
      let group = try ref["group"]?.text() ?? GatewayAPI.group
      let kind = try ref["kind"]?.text() ?? "Gateway"
      let parent = RouteObject.Parent(
        namespace: try ref["namespace"]?.label() ?? metadata.name.namespace, name: name,
        sectionName: try ref["sectionName"]?.subdomain() ?? "", port: try ref["port"]?.port())
      guard GatewayAPI.isService(group: group, kind: kind) else {
        foreign.append("\(kind.prefix(64)) \(name)")
        continue
      }
      guard !route.parents.contains(parent) else { throw field.problem("the same parent stands twice") }
      route.parents.append(parent)
    }
    return foreign
  }

  private func decodeRule(_ field: Field, into route: inout RouteObject) throws(ConfigProblem) -> RouteRule {
    let schema =
      switch kind {
      case .http: Schemas.httpRule
      case .grpc: Schemas.grpcRule
      case .tcp, .tls: Schemas.streamRule
      }
    let fields = try field.fields(schema)
    var rule = RouteRule(name: try fields["name"]?.subdomain() ?? "")
    for field in try fields["matches"]?.list(upTo: Self.maximumMatches) ?? [] {
      let decoder = RouteMatchDecoder(field: field)
      rule.matches.append(kind == .grpc ? try decoder.grpc() : try decoder.http())
    }
    if isHTTP, rule.matches.isEmpty { rule.matches = [RouteMatch()] }
    var filters = RouteFilterDecoder(kind, namespace: metadata.name.namespace, matches: rule.matches)
    rule.filters = try filters.decode(fields["filters"])
    let backends = try fields["backendRefs"]?.list(upTo: Self.maximumBackends) ?? []
    for field in backends {
      rule.backends.append(try backend(field, of: rule, &filters))
    }
    route.rejection = route.rejection ?? filters.rejection
    if rule.filters.contains(where: \.isRedirect), let backend = backends.first {
      throw backend.problem("a rule that redirects has no backends")
    }
    guard isHTTP || !rule.backends.isEmpty else { throw field.problem("has no backendRefs") }
    try decodeBehaviour(fields, into: &rule)
    if let field = fields["sessionPersistence"] {
      let routeID = "\(kind.objectKind)/\(metadata.name.namespace)/\(metadata.name.name)"
      rule.sessionPersistence = try session(
        field, ofRule: rule.identity(inRoute: routeID, at: route.rules.count))
    }
    return rule
  }

  private func backend(
    _ field: Field, of rule: RouteRule, _ filters: inout RouteFilterDecoder
  ) throws(ConfigProblem) -> RouteBackend {
    let ref = try field.fields(isHTTP ? Schemas.filteredBackendRef : Schemas.backendRef)
    let (service, port, invalid) = try ServiceReference.decode(ref, in: metadata.name.namespace)
    return RouteBackend(
      service: service, port: port, weight: try ref["weight"]?.number(0...1_000_000) ?? 1,
      filters: try filters.decode(ref["filters"], under: rule.filters), invalid: invalid)
  }

  private func decodeBehaviour(_ fields: Fields, into rule: inout RouteRule) throws(ConfigProblem) {
    if let field = fields["timeouts"] {
      let timeouts = try field.fields(Schemas.routeTimeouts)
      rule.requestTimeout = try timeouts["request"]?.gatewayDuration()
      rule.backendRequestTimeout = try timeouts["backendRequest"]?.gatewayDuration()
      if let whole = rule.requestTimeout, let each = rule.backendRequestTimeout, whole > 0, each > whole {
        throw (timeouts["backendRequest"] ?? field).problem("is longer than the request's timeout")
      }
    }
    if let field = fields["retry"] { rule.retry = try retry(field) }
  }

  /// GEP-1731. Statuses, where given, are in place of the default's.
  private func retry(_ field: Field) throws(ConfigProblem) -> RetryPolicy {
    let fields = try field.fields(Schemas.routeRetry)
    var policy = RetryPolicy(attempts: try fields["attempts"]?.number(0...20) ?? 1)
    if let codes = try fields["codes"]?.list(upTo: 100) {
      policy.statuses = []
      for code in codes { policy.statuses.append(UInt16(try code.number(400...599))) }
    }
    if let backoff = try fields["backoff"]?.gatewayDuration() {
      policy.backoff = backoff
      policy.maximumBackoff = RetryPolicy.longestBackoff(from: backoff)
    }
    return policy
  }

  /// GEP-1619.
  private func session(_ field: Field, ofRule identity: String) throws(ConfigProblem) -> SessionPersistence {
    let fields = try field.fields(Schemas.routeSession)
    let isHeader: Bool = try fields["type"]?.choice(["Cookie": false, "Header": true]) ?? false
    let timeout = try fields["absoluteTimeout"]?.lifetime()
    let cookie = try fields["cookieConfig"]?.fields(Schemas.cookieConfig)
    let isPermanent: Bool = try cookie?["lifetimeType"]?.choice(["Session": false, "Permanent": true]) ?? false
    guard !isPermanent || timeout != nil else {
      throw field.problem("a Permanent cookie needs an absoluteTimeout")
    }
    let name = try fields["sessionName"]?.token()
    guard name?.utf8.count ?? 0 <= Self.maximumSessionName else {
      throw field.problem("the sessionName is longer than \(Self.maximumSessionName) characters")
    }
    return SessionPersistence(
      name: name ?? SessionPersistence.defaultName(ofRule: identity),
      isHeader: isHeader, absoluteTimeout: timeout, idleTimeout: try fields["idleTimeout"]?.lifetime(),
      isPermanent: isPermanent && !isHeader)
  }
}

/// A reference to a Service as a backend.
enum ServiceReference {
  /// `invalid` where it can't be a Service; such a reference needs no port.
  static func decode(
    _ ref: Fields, in namespace: String
  ) throws(ConfigProblem) -> (ServiceKey, UInt16, invalid: String) {
    let group = try ref["group"]?.text() ?? ""
    let kind = try ref["kind"]?.text() ?? "Service"
    let name = try ref.required("name").subdomain()
    let namespace = try ref["namespace"]?.label() ?? namespace
    let port = try ref["port"]?.port()
    guard GatewayAPI.isService(group: group, kind: kind) else {
      let what = group.isEmpty ? kind : "\(kind) of \(group)"
      let finding = Finding("InvalidKind", "\(what.prefix(200)) \(name) is not a Service")
      return (ServiceKey(namespace: namespace, name: name), port ?? 0, finding.description)
    }
    guard let port else { throw ref.parent.problem("has no port, which a reference to a Service needs") }
    return (ServiceKey(namespace: namespace, name: name), port, "")
  }
}

extension GatewayAPI {
  static func isService(group: String, kind: String) -> Bool {
    (group.isEmpty || group == "core") && kind == "Service"
  }
}
