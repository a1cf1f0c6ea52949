import MeshModel

/// A TrafficPolicy's parts that bound, repeat and refuse requests. What isn't said is as the model's default has it.
enum ResilienceDecoder {
  private static let counts: ClosedRange<UInt32> = 1...1_000_000_000

  static func timeouts(_ field: Field) throws(ConfigProblem) -> Timeouts {
    let fields = try field.fields(Schemas.timeouts)
    return Timeouts(
      request: try fields["request"]?.duration(), perTry: try fields["perTry"]?.duration(),
      idle: try fields["idle"]?.duration(), connect: try fields["connect"]?.duration())
  }

  static func retry(_ field: Field) throws(ConfigProblem) -> RetryPolicy {
    let fields = try field.fields(Schemas.retry)
    var policy = RetryPolicy(attempts: try fields["attempts"]?.number(0...20) ?? RetryPolicy().attempts)
    if let statuses = try fields["statuses"]?.list(upTo: 100) {
      policy.statuses = []
      for status in statuses { policy.statuses.append(UInt16(try status.number(400...599))) }
    }
    if let statuses = try fields["grpcStatuses"]?.list(upTo: 17) {
      policy.grpcStatuses = []
      for status in statuses { policy.grpcStatuses.append(UInt8(try status.number(1...16))) }
    }
    policy.onConnectFailure = try fields["onConnectFailure"]?.truth() ?? policy.onConnectFailure
    policy.onReset = try fields["onReset"]?.truth() ?? policy.onReset
    policy.retriesNonIdempotent = try fields["retriesNonIdempotent"]?.truth() ?? policy.retriesNonIdempotent
    policy.backoff = try fields["backoff"]?.duration() ?? policy.backoff
    policy.maximumBackoff =
      try fields["maximumBackoff"]?.duration()
      ?? max(policy.maximumBackoff, RetryPolicy.longestBackoff(from: policy.backoff))
    guard policy.maximumBackoff >= policy.backoff else {
      throw (fields["maximumBackoff"] ?? field).problem("is shorter than the backoff")
    }
    policy.bufferLimit = try fields["bufferLimit"]?.number(0...1 << 20) ?? policy.bufferLimit
    return policy
  }

  static func retryBudget(_ field: Field) throws(ConfigProblem) -> RetryBudget {
    let fields = try field.fields(Schemas.retryBudget)
    let base = RetryBudget()
    return RetryBudget(
      percent: try fields["percent"]?.percent() ?? base.percent,
      interval: try fields["interval"]?.duration(zero: false) ?? base.interval,
      minimumRate: try fields["minimumRate"]?.number(0...1_000_000) ?? base.minimumRate,
      minimumInterval: try fields["minimumInterval"]?.duration(zero: false) ?? base.minimumInterval)
  }

  static func hedging(_ field: Field) throws(ConfigProblem) -> Hedging {
    let fields = try field.fields(Schemas.hedging)
    let base = Hedging()
    return Hedging(
      percentile: try fields["percentile"]?.number(1...99) ?? base.percentile,
      minimumDelay: try fields["minimumDelay"]?.duration() ?? base.minimumDelay)
  }

  static func circuitBreaker(_ field: Field) throws(ConfigProblem) -> CircuitBreaker {
    let fields = try field.fields(Schemas.circuitBreaker)
    let limits: ClosedRange<UInt32> = 0...1_000_000_000
    return CircuitBreaker(
      maxConnections: try fields["maxConnections"]?.number(counts),
      maxPending: try fields["maxPending"]?.number(limits),
      maxRequests: try fields["maxRequests"]?.number(counts), maxRetries: try fields["maxRetries"]?.number(limits))
  }

  static func outlierDetection(_ field: Field) throws(ConfigProblem) -> OutlierDetection {
    let fields = try field.fields(Schemas.outlierDetection)
    var detection = OutlierDetection()
    let limits: ClosedRange<UInt32> = 0...100_000
    detection.consecutiveErrors = try fields["consecutiveErrors"]?.number(limits) ?? detection.consecutiveErrors
    detection.interval = try fields["interval"]?.duration(zero: false) ?? detection.interval
    detection.baseEjectionTime =
      try fields["baseEjectionTime"]?.duration(zero: false) ?? detection.baseEjectionTime
    detection.maximumEjectionTime =
      try fields["maximumEjectionTime"]?.duration(zero: false)
      ?? max(detection.maximumEjectionTime, detection.baseEjectionTime)
    guard detection.maximumEjectionTime >= detection.baseEjectionTime else {
      throw (fields["maximumEjectionTime"] ?? field).problem("is shorter than the baseEjectionTime")
    }
    detection.maximumEjectionPercent =
      try fields["maximumEjectionPercent"]?.percent() ?? detection.maximumEjectionPercent
    detection.successRateDeviation =
      try fields["successRateDeviation"]?.number(limits) ?? detection.successRateDeviation
    detection.minimumRequests = try fields["minimumRequests"]?.number(limits) ?? detection.minimumRequests
    detection.minimumEndpoints = try fields["minimumEndpoints"]?.number(limits) ?? detection.minimumEndpoints
    detection.latencyPercent = try fields["latencyPercent"]?.number(limits) ?? detection.latencyPercent
    return detection
  }

  static func adaptiveConcurrency(_ field: Field) throws(ConfigProblem) -> AdaptiveConcurrency {
    let fields = try field.fields(Schemas.adaptiveConcurrency)
    let base = AdaptiveConcurrency()
    let maximum = try fields["maximum"]?.number(1...1_000_000) ?? base.maximum
    return AdaptiveConcurrency(
      minimum: try fields["minimum"]?.number(1...maximum) ?? min(base.minimum, maximum), maximum: maximum)
  }

  static func rateLimit(_ field: Field) throws(ConfigProblem) -> RateLimit {
    let fields = try field.fields(Schemas.rateLimit)
    let requests = try fields.required("requests").number(counts)
    var limit = RateLimit(
      requests: requests, interval: try fields["interval"]?.duration(zero: false) ?? 1000,
      burst: try fields["burst"]?.number(counts) ?? requests)
    for field in try fields["keys"]?.list(upTo: 8) ?? [] {
      if case .mapping = field.node.content {
        let name = try field.fields(Schemas.rateLimitKey).required("header").token()
        limit.keys.append(.header(name.lowercased()))
      } else {
        limit.keys.append(try field.choice(["clientIdentity": RateLimit.Key.clientIdentity, "route": .route]))
      }
    }
    return limit
  }

  static func fault(_ field: Field) throws(ConfigProblem) -> Fault {
    let fields = try field.fields(Schemas.fault)
    var effects: [Fault.Effect] = []
    if let delay = try fields["delay"]?.duration(zero: false) { effects.append(.delay(delay)) }
    if let status = try fields["abort"]?.number(200...599) { effects.append(.abort(UInt16(status))) }
    if let status = try fields["abortGRPC"]?.number(0...16) { effects.append(.abortGRPC(UInt8(status))) }
    guard effects.count == 1 else { throw field.problem("has \(effects.count) of delay, abort and abortGRPC, not one") }
    var fault = Fault(effect: effects[0], perTenThousand: try fields["percent"]?.percent(parts: 100) ?? 10_000)
    if let header = try fields["header"]?.fields(Schemas.valueMatch) {
      let isPattern: Bool = try header["type"]?.choice(["Exact": false, "RegularExpression": true]) ?? false
      let value = try header.required("value")
      fault.header = RouteMatch.Value(
        name: try header.required("name").token().lowercased(),
        value: isPattern ? try value.regularExpression() : try value.line(1...4096), isRegularExpression: isPattern)
    }
    return fault
  }
}

extension RetryPolicy {
  /// Where it isn't said: ten times the first, as far as a time goes.
  static func longestBackoff(from backoff: UInt32) -> UInt32 {
    UInt32(min(UInt64(backoff) * 10, UInt64(TrafficTime.maximum)))
  }
}
