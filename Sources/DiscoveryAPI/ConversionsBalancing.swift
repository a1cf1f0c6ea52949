import MeshModel

extension Weft_Mesh_V1_LoadBalancer {
  init(_ balancer: LoadBalancer) {
    self.init()
    algorithm =
      switch balancer.algorithm {
      case .roundRobin: .roundRobin(Weft_Mesh_V1_Empty())
      case .random: .random(Weft_Mesh_V1_Empty())
      case .leastRequest: .leastRequest(Weft_Mesh_V1_Empty())
      case .peakEWMA: .peakEwma(Weft_Mesh_V1_Empty())
      case .ringHash(let source): .ringHash(Weft_Mesh_V1_HashSource(source))
      case .maglev(let source): .maglev(Weft_Mesh_V1_HashSource(source))
      }
    slowStart = balancer.slowStart
  }
}

extension Weft_Mesh_V1_HashSource {
  fileprivate init(_ source: LoadBalancer.HashSource) {
    self.init()
    kind =
      switch source {
      case .header(let name): .header(name)
      case .cookie(let name, let ttl):
        .cookie(
          .with {
            $0.name = name
            if let ttl { $0.ttl = ttl }
          })
      case .sourceAddress: .sourceAddress(Weft_Mesh_V1_Empty())
      }
  }
}

extension Weft_Mesh_V1_RetryPolicy {
  init(_ policy: RetryPolicy) {
    self.init()
    attempts = policy.attempts
    statuses = policy.statuses.map(UInt32.init)
    grpcStatuses = policy.grpcStatuses.map(UInt32.init)
    onConnectFailure = policy.onConnectFailure
    onReset = policy.onReset
    retriesNonIdempotent = policy.retriesNonIdempotent
    backoff = policy.backoff
    maximumBackoff = policy.maximumBackoff
    bufferLimit = policy.bufferLimit
  }
}

extension Weft_Mesh_V1_SessionPersistence {
  init(_ session: SessionPersistence) {
    self.init()
    name = session.name
    isHeader = session.isHeader
    if let time = session.absoluteTimeout { absoluteTimeout = time }
    if let time = session.idleTimeout { idleTimeout = time }
    isPermanent = session.isPermanent
  }
}

extension Weft_Mesh_V1_OutlierDetection {
  init(_ detection: OutlierDetection) {
    self.init()
    consecutiveErrors = detection.consecutiveErrors
    interval = detection.interval
    baseEjectionTime = detection.baseEjectionTime
    maximumEjectionTime = detection.maximumEjectionTime
    maximumEjectionPercent = detection.maximumEjectionPercent
    successRateDeviation = detection.successRateDeviation
    minimumRequests = detection.minimumRequests
    minimumEndpoints = detection.minimumEndpoints
    latencyPercent = detection.latencyPercent
  }
}

extension Check {
  func loadBalancer(_ message: Weft_Mesh_V1_LoadBalancer) throws(InvalidResource) -> LoadBalancer {
    let algorithm: LoadBalancer.Algorithm
    switch message.algorithm {
    case .roundRobin: algorithm = .roundRobin
    case .random: algorithm = .random
    case .leastRequest: algorithm = .leastRequest
    case .peakEwma: algorithm = .peakEWMA
    case .ringHash(let source): algorithm = .ringHash(try hashSource(source, "load_balancer.ring_hash"))
    case .maglev(let source): algorithm = .maglev(try hashSource(source, "load_balancer.maglev"))
    case nil: throw error("load_balancer.algorithm", "is missing")
    }
    return LoadBalancer(algorithm: algorithm, slowStart: try time(message.slowStart, "load_balancer.slow_start"))
  }

  private func hashSource(
    _ message: Weft_Mesh_V1_HashSource, _ field: String
  ) throws(InvalidResource) -> LoadBalancer.HashSource {
    switch message.kind {
    case .header(let name):
      try lowerCaseName(name, "\(field).header")
      return .header(name)
    case .cookie(let cookie):
      return .cookie(
        try token(cookie.name, "\(field).cookie.name"),
        ttl: cookie.hasTtl ? try number(cookie.ttl, 0...UInt32(Int32.max), "\(field).cookie.ttl") : nil)
    case .sourceAddress: return .sourceAddress
    case nil: throw error(field, "has no source")
    }
  }

  func retry(
    _ message: Weft_Mesh_V1_RetryPolicy, _ field: @autoclosure () -> String
  ) throws(InvalidResource) -> RetryPolicy {
    let field = field()
    return RetryPolicy(
      attempts: try number(message.attempts, 0...20, "\(field).attempts"),
      statuses: try list(message.statuses, "\(field).statuses") { (status) throws(InvalidResource) in
        UInt16(try number(status, 200...599, "\(field).statuses"))
      },
      grpcStatuses: try list(message.grpcStatuses, "\(field).grpc_statuses") { (status) throws(InvalidResource) in
        UInt8(try number(status, 0...16, "\(field).grpc_statuses"))
      },
      onConnectFailure: message.onConnectFailure, onReset: message.onReset,
      retriesNonIdempotent: message.retriesNonIdempotent, backoff: try time(message.backoff, "\(field).backoff"),
      maximumBackoff: try time(message.maximumBackoff, "\(field).maximum_backoff"),
      bufferLimit: try number(message.bufferLimit, 0...1 << 20, "\(field).buffer_limit"))
  }

  func sessionPersistence(
    _ message: Weft_Mesh_V1_SessionPersistence, _ field: @autoclosure () -> String
  ) throws(InvalidResource) -> SessionPersistence {
    let field = field()
    let seconds: ClosedRange<UInt32> = 1...UInt32(Int32.max)
    try self(
      !message.isPermanent || message.hasAbsoluteTimeout && !message.isHeader, "\(field).is_permanent",
      "is for cookies with an absolute timeout")
    return SessionPersistence(
      name: try token(message.name, "\(field).name"), isHeader: message.isHeader,
      absoluteTimeout: message.hasAbsoluteTimeout
        ? try number(message.absoluteTimeout, seconds, "\(field).absolute_timeout") : nil,
      idleTimeout: message.hasIdleTimeout ? try number(message.idleTimeout, seconds, "\(field).idle_timeout") : nil,
      isPermanent: message.isPermanent)
  }

  func outlierDetection(_ message: Weft_Mesh_V1_OutlierDetection) throws(InvalidResource) -> OutlierDetection {
    OutlierDetection(
      consecutiveErrors: message.consecutiveErrors,
      interval: try number(message.interval, 1...TrafficTime.maximum, "outlier_detection.interval"),
      baseEjectionTime: try number(
        message.baseEjectionTime, 1...TrafficTime.maximum, "outlier_detection.base_ejection_time"),
      maximumEjectionTime: try number(
        message.maximumEjectionTime, 1...TrafficTime.maximum, "outlier_detection.maximum_ejection_time"),
      maximumEjectionPercent: try number(
        message.maximumEjectionPercent, 0...100, "outlier_detection.maximum_ejection_percent"),
      successRateDeviation: try number(
        message.successRateDeviation, 0...100_000, "outlier_detection.success_rate_deviation"),
      minimumRequests: message.minimumRequests, minimumEndpoints: message.minimumEndpoints,
      latencyPercent: try number(message.latencyPercent, 0...100_000, "outlier_detection.latency_percent"))
  }
}
