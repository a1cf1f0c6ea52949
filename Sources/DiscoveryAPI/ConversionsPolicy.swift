import MeshModel

extension Weft_Mesh_V1_TrafficPolicy {
  public static let typeURL = "type.googleapis.com/weft.mesh.v1.TrafficPolicy"

  public init(_ policy: TrafficPolicy) {
    self.init()
    namespace = policy.namespace
    name = policy.name
    created = policy.created
    targets = policy.targets.map { target in
      .with {
        switch target.kind {
        case .service(let key): $0.service = key.description
        case .route(let id): $0.route = id
        }
        if let port = target.port { $0.port = UInt32(port) }
      }
    }
    clients = policy.clients
    if let value = policy.loadBalancer { loadBalancer = Weft_Mesh_V1_LoadBalancer(value) }
    timeouts = .with {
      if let time = policy.timeouts.request { $0.request = time }
      if let time = policy.timeouts.perTry { $0.perTry = time }
      if let time = policy.timeouts.idle { $0.idle = time }
      if let time = policy.timeouts.connect { $0.connect = time }
    }
    if let value = policy.retry { retry = Weft_Mesh_V1_RetryPolicy(value) }
    if let value = policy.retryBudget {
      retryBudget = .with {
        $0.percent = value.percent
        $0.interval = value.interval
        $0.minimumRate = value.minimumRate
        $0.minimumInterval = value.minimumInterval
      }
    }
    if let value = policy.hedging {
      hedging = .with {
        $0.percentile = value.percentile
        $0.minimumDelay = value.minimumDelay
      }
    }
    if let value = policy.circuitBreaker {
      circuitBreaker = .with {
        if let limit = value.maxConnections { $0.maxConnections = limit }
        if let limit = value.maxPending { $0.maxPending = limit }
        if let limit = value.maxRequests { $0.maxRequests = limit }
        if let limit = value.maxRetries { $0.maxRetries = limit }
      }
    }
    if let value = policy.outlierDetection { outlierDetection = Weft_Mesh_V1_OutlierDetection(value) }
    rateLimits = policy.rateLimits.map { Weft_Mesh_V1_RateLimit($0) }
    if let value = policy.adaptiveConcurrency {
      adaptiveConcurrency = .with {
        $0.minimum = value.minimum
        $0.maximum = value.maximum
      }
    }
    faults = policy.faults.map { Weft_Mesh_V1_Fault($0) }
    if let value = policy.locality {
      locality = .with {
        $0.isPreferred = value.isPreferred
        $0.panicThreshold = value.panicThreshold
        $0.overprovisioning = value.overprovisioning
      }
    }
    if let value = policy.sessionPersistence { sessionPersistence = Weft_Mesh_V1_SessionPersistence(value) }
    if let value = policy.headers {
      headers = .with {
        $0.forwardedFor = value.forwardedFor
        $0.via = value.via
        $0.requestID = value.requestID
        $0.reason = value.reason
      }
    }
  }
}

extension TrafficPolicy {
  /// Checks every field: lists of at most 1,000, text of at most 1 KiB, times of at most 1193 h.
  public init(_ message: Weft_Mesh_V1_TrafficPolicy) throws(InvalidResource) {
    let check = Check(resource: "policy \(message.namespace.prefix(63))/\(message.name.prefix(253))")
    try check(DNSName.isLabel(message.namespace), "namespace", "is not a DNS label")
    try check(DNSName.isSubdomain(message.name), "name", "is not a DNS subdomain")
    self.init(
      namespace: message.namespace, name: message.name, created: message.created,
      targets: try check.list(message.targets, "targets") { (target) throws(InvalidResource) in
        try check.target(target)
      },
      clients: try check.list(message.clients, "clients") { (client) throws(InvalidResource) in
        try check.client(client)
      })
    if message.hasLoadBalancer { loadBalancer = try check.loadBalancer(message.loadBalancer) }
    timeouts = try check.timeouts(message.timeouts)
    if message.hasRetry { retry = try check.retry(message.retry, "retry") }
    if message.hasRetryBudget { retryBudget = try check.retryBudget(message.retryBudget) }
    if message.hasHedging {
      hedging = Hedging(
        percentile: try check.number(message.hedging.percentile, 1...99, "hedging.percentile"),
        minimumDelay: try check.time(message.hedging.minimumDelay, "hedging.minimum_delay"))
    }
    if message.hasCircuitBreaker {
      let breaker = message.circuitBreaker
      circuitBreaker = CircuitBreaker(
        maxConnections: breaker.hasMaxConnections ? breaker.maxConnections : nil,
        maxPending: breaker.hasMaxPending ? breaker.maxPending : nil,
        maxRequests: breaker.hasMaxRequests ? breaker.maxRequests : nil,
        maxRetries: breaker.hasMaxRetries ? breaker.maxRetries : nil)
    }
    if message.hasOutlierDetection { outlierDetection = try check.outlierDetection(message.outlierDetection) }
    rateLimits = try check.list(message.rateLimits, "rate_limits") { (limit) throws(InvalidResource) in
      try check.rateLimit(limit)
    }
    if message.hasAdaptiveConcurrency {
      let maximum = try check.number(
        message.adaptiveConcurrency.maximum, 1...1_000_000, "adaptive_concurrency.maximum")
      adaptiveConcurrency = AdaptiveConcurrency(
        minimum: try check.number(
          message.adaptiveConcurrency.minimum, 1...maximum, "adaptive_concurrency.minimum"), maximum: maximum)
    }
    faults = try check.list(message.faults, "faults") { (fault) throws(InvalidResource) in try check.fault(fault) }
    if message.hasLocality {
      locality = Locality(
        isPreferred: message.locality.isPreferred,
        panicThreshold: try check.number(message.locality.panicThreshold, 0...100, "locality.panic_threshold"),
        overprovisioning: try check.number(
          message.locality.overprovisioning, 100...10_000, "locality.overprovisioning"))
    }
    if message.hasSessionPersistence {
      sessionPersistence = try check.sessionPersistence(message.sessionPersistence, "session_persistence")
    }
    if message.hasHeaders {
      headers = HeaderOptions(
        forwardedFor: message.headers.forwardedFor, via: message.headers.via, requestID: message.headers.requestID,
        reason: message.headers.reason)
    }
  }
}

extension Check {
  fileprivate func target(_ message: Weft_Mesh_V1_PolicyTarget) throws(InvalidResource) -> TrafficPolicy.Target {
    let port = message.hasPort ? try port(message.port, "targets.port") : nil
    switch message.kind {
    case .service(let name): return .init(kind: .service(try service(name, "targets.service")), port: port)
    case .route(let id):
      let parts = id.split(separator: "/", omittingEmptySubsequences: false)
      try self(
        parts.count == 3 && DNSName.isLabel(parts[1]) && DNSName.isSubdomain(parts[2]), "targets.route",
        "is not kind/namespace/name")
      return .init(kind: .route(try text(id, "targets.route")), port: port)
    case nil: throw error("targets", "is of no known kind")
    }
  }

  fileprivate func client(_ value: String) throws(InvalidResource) -> String {
    let parts = value.split(separator: "/", omittingEmptySubsequences: false)
    try self(
      parts.count <= 2 && DNSName.isLabel(parts[0]) && parts.dropFirst().allSatisfy { DNSName.isSubdomain($0) },
      "clients", "is neither namespace nor namespace/account")
    return value
  }

  fileprivate func timeouts(_ message: Weft_Mesh_V1_Timeouts) throws(InvalidResource) -> Timeouts {
    Timeouts(
      request: message.hasRequest ? try time(message.request, "timeouts.request") : nil,
      perTry: message.hasPerTry ? try time(message.perTry, "timeouts.per_try") : nil,
      idle: message.hasIdle ? try time(message.idle, "timeouts.idle") : nil,
      connect: message.hasConnect ? try time(message.connect, "timeouts.connect") : nil)
  }

  fileprivate func retryBudget(_ message: Weft_Mesh_V1_RetryBudget) throws(InvalidResource) -> RetryBudget {
    RetryBudget(
      percent: try number(message.percent, 0...100, "retry_budget.percent"),
      interval: try number(message.interval, 1...TrafficTime.maximum, "retry_budget.interval"),
      minimumRate: try number(message.minimumRate, 0...1_000_000, "retry_budget.minimum_rate"),
      minimumInterval: try number(message.minimumInterval, 1...TrafficTime.maximum, "retry_budget.minimum_interval"))
  }

  fileprivate func rateLimit(_ message: Weft_Mesh_V1_RateLimit) throws(InvalidResource) -> RateLimit {
    RateLimit(
      keys: try list(message.keys, "rate_limits.keys") { (key) throws(InvalidResource) -> RateLimit.Key in
        switch key.kind {
        case .clientIdentity: return .clientIdentity
        case .route: return .route
        case .header(let name):
          try lowerCaseName(name, "rate_limits.keys.header")
          return .header(name)
        case nil: throw error("rate_limits.keys", "is of no known kind")
        }
      },
      requests: try number(message.requests, 1...UInt32(Int32.max), "rate_limits.requests"),
      interval: try number(message.interval, 1...TrafficTime.maximum, "rate_limits.interval"),
      burst: try number(message.burst, 1...UInt32(Int32.max), "rate_limits.burst"))
  }

  fileprivate func fault(_ message: Weft_Mesh_V1_Fault) throws(InvalidResource) -> Fault {
    let effect: Fault.Effect
    switch message.effect {
    case .delay(let value): effect = .delay(try time(value, "faults.delay"))
    case .abort(let status): effect = .abort(UInt16(try number(status, 200...599, "faults.abort")))
    case .abortGrpc(let status): effect = .abortGRPC(UInt8(try number(status, 0...16, "faults.abort_grpc")))
    case nil: throw error("faults.effect", "is missing")
    }
    return Fault(
      effect: effect, perTenThousand: try number(message.perTenThousand, 0...10_000, "faults.per_ten_thousand"),
      header: message.hasHeader ? try header(message.header, "faults.header") : nil)
  }
}

extension Weft_Mesh_V1_RateLimit {
  fileprivate init(_ limit: RateLimit) {
    self.init()
    keys = limit.keys.map { key in
      .with {
        $0.kind =
          switch key {
          case .clientIdentity: .clientIdentity(Weft_Mesh_V1_Empty())
          case .route: .route(Weft_Mesh_V1_Empty())
          case .header(let name): .header(name)
          }
      }
    }
    requests = limit.requests
    interval = limit.interval
    burst = limit.burst
  }
}

extension Weft_Mesh_V1_Fault {
  fileprivate init(_ fault: Fault) {
    self.init()
    effect =
      switch fault.effect {
      case .delay(let time): .delay(time)
      case .abort(let status): .abort(UInt32(status))
      case .abortGRPC(let status): .abortGrpc(UInt32(status))
      }
    perTenThousand = fault.perTenThousand
    if let value = fault.header { header = Weft_Mesh_V1_ValueMatch(value) }
  }
}
