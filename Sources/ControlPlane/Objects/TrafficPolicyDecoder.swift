import MeshModel

struct TrafficPolicyDecoder {
  let metadata: ObjectMetadata

  static let maximumTargets = 16
  static let maximumClients = 64
  static let maximumLimits = 64

  func decode(_ fields: Fields) throws(ConfigProblem) -> TrafficPolicyObject {
    let spec = try fields.required("spec").fields(Schemas.trafficPolicySpec)
    var policy = TrafficPolicy(
      namespace: metadata.name.namespace, name: metadata.name.name, created: try metadata.created(), targets: [])
    for field in try spec["clients"]?.list(upTo: Self.maximumClients) ?? [] {
      policy.clients.append(try client(field))
    }
    policy.loadBalancer = try spec.map("loadBalancer", BalancingDecoder.loadBalancer)
    policy.locality = try spec.map("locality", BalancingDecoder.locality)
    policy.sessionPersistence = try spec.map("sessionPersistence", BalancingDecoder.session)
    policy.timeouts = try spec.map("timeouts", ResilienceDecoder.timeouts) ?? Timeouts()
    policy.retry = try spec.map("retry", ResilienceDecoder.retry)
    policy.retryBudget = try spec.map("retryBudget", ResilienceDecoder.retryBudget)
    policy.hedging = try spec.map("hedging", ResilienceDecoder.hedging)
    policy.circuitBreaker = try spec.map("circuitBreaker", ResilienceDecoder.circuitBreaker)
    policy.outlierDetection = try spec.map("outlierDetection", ResilienceDecoder.outlierDetection)
    policy.adaptiveConcurrency = try spec.map("adaptiveConcurrency", ResilienceDecoder.adaptiveConcurrency)
    for field in try spec["rateLimits"]?.list(upTo: Self.maximumLimits) ?? [] {
      policy.rateLimits.append(try ResilienceDecoder.rateLimit(field))
    }
    for field in try spec["faults"]?.list(upTo: Self.maximumLimits) ?? [] {
      policy.faults.append(try ResilienceDecoder.fault(field))
    }
    policy.headers = try spec.map("headers", headers)
    let targets = try targets(try spec.required("targetRefs"))
    try refuseWithoutEffect(spec, targets)
    return TrafficPolicyObject(policy: policy, targets: targets)
  }

  /// What is said where it can't hold must not be taken for granted: a TCPRoute or TLSRoute carries no requests.
  private func refuseWithoutEffect(
    _ spec: Fields, _ targets: [TrafficPolicyObject.Target]
  ) throws(ConfigProblem) {
    let carriesBytes = targets.contains { target in
      if case .route(let id) = target.kind { id.hasPrefix("TCPRoute/") || id.hasPrefix("TLSRoute/") } else { false }
    }
    guard carriesBytes else { return }
    for part in [
      "adaptiveConcurrency", "faults", "headers", "hedging", "rateLimits", "retry", "retryBudget", "sessionPersistence",
    ] {
      if let field = spec[part] { throw field.problem("holds for requests, and TCPRoutes and TLSRoutes carry bytes") }
    }
  }

  private func targets(_ field: Field) throws(ConfigProblem) -> [TrafficPolicyObject.Target] {
    var targets: [TrafficPolicyObject.Target] = []
    for field in try field.list(upTo: Self.maximumTargets) {
      let target = try target(field)
      guard !targets.contains(target) else { throw field.problem("the same target stands twice") }
      targets.append(target)
    }
    guard !targets.isEmpty else { throw field.problem("has no target") }
    return targets
  }

  private func target(_ field: Field) throws(ConfigProblem) -> TrafficPolicyObject.Target {
    let ref = try field.fields(Schemas.targetRef)
    let kindField = try ref.required("kind")
    let kind = try kindField.choice(
      [
        "Service": "Service", "HTTPRoute": "HTTPRoute", "GRPCRoute": "GRPCRoute", "TCPRoute": "TCPRoute",
        "TLSRoute": "TLSRoute",
      ])
    let isService = kind == "Service"
    let group = try ref["group"]?.text() ?? (isService ? "" : GatewayAPI.group)
    guard isService ? GatewayAPI.isService(group: group, kind: kind) : group == GatewayAPI.group else {
      throw (ref["group"] ?? kindField).expected(
        "the group of \(kind), which is \(isService ? "empty" : GatewayAPI.group)")
    }
    let nameField = try ref.required("name")
    guard isService else {
      for part in ["port", "sectionName"] {
        if let field = ref[part] { throw field.problem("is for Services; a policy holds for a route as a whole") }
      }
      return .init(kind: .route("\(kind)/\(metadata.name.namespace)/\(try nameField.subdomain())"))
    }
    let key = ServiceKey(namespace: metadata.name.namespace, name: try nameField.label())
    if let section = ref["sectionName"], ref["port"] != nil {
      throw section.problem("stands beside a port; one of both is allowed")
    }
    return .init(
      kind: .service(key), port: try ref["port"]?.port(), sectionName: try ref["sectionName"]?.label() ?? "")
  }

  /// `namespace` or `namespace/account`.
  private func client(_ field: Field) throws(ConfigProblem) -> String {
    let fields = try field.fields(Schemas.policyClient)
    let namespace = try fields["namespace"]?.label() ?? metadata.name.namespace
    guard let account = fields["serviceAccount"] else {
      guard fields["namespace"] != nil else { throw field.problem("has no namespace and no serviceAccount") }
      return namespace
    }
    return "\(namespace)/\(try account.subdomain())"
  }

  private func headers(_ field: Field) throws(ConfigProblem) -> HeaderOptions {
    let fields = try field.fields(Schemas.headerOptions)
    let base = HeaderOptions()
    return HeaderOptions(
      forwardedFor: try fields["forwardedFor"]?.truth() ?? base.forwardedFor,
      via: try fields["via"]?.truth() ?? base.via, requestID: try fields["requestID"]?.truth() ?? base.requestID,
      reason: try fields["reason"]?.truth() ?? base.reason)
  }
}

extension Fields {
  func map<Value>(
    _ name: String, _ decode: (Field) throws(ConfigProblem) -> Value
  ) throws(ConfigProblem) -> Value? {
    guard let field = self[name] else { return nil }
    return try decode(field)
  }
}
