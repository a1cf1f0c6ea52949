/// `TrafficPolicy` of `weft.dev/v1alpha1`: how requests to its targets are balanced, bounded, retried and refused.
/// Every time is in milliseconds; nil or 0: not said, the default holds.
public struct TrafficPolicy: Hashable, Sendable, Identifiable {
  public struct Target: Hashable, Sendable {
    public enum Kind: Hashable, Sendable {
      case service(ServiceKey)
      /// `HTTPRoute/namespace/name`
      case route(String)
    }
    public var kind: Kind
    /// Of a Service; nil: all its ports.
    public var port: UInt16?

    public init(kind: Kind, port: UInt16? = nil) {
      self.kind = kind
      self.port = port
    }
  }

  public var namespace: String
  public var name: String
  /// Seconds since 1970; of two policies for the same target and clients the oldest wins.
  public var created: Int64
  public var targets: [Target]
  /// The clients that it holds for, by SPIFFE ID's namespace or namespace/account; empty: all. A policy that names
  /// clients goes before one that doesn't.
  public var clients: [String]

  public var loadBalancer: LoadBalancer?
  public var timeouts = Timeouts()
  public var retry: RetryPolicy?
  public var retryBudget: RetryBudget?
  public var hedging: Hedging?
  public var circuitBreaker: CircuitBreaker?
  public var outlierDetection: OutlierDetection?
  public var rateLimits: [RateLimit] = []
  public var adaptiveConcurrency: AdaptiveConcurrency?
  public var faults: [Fault] = []
  public var locality: Locality?
  public var sessionPersistence: SessionPersistence?
  public var headers: HeaderOptions?

  public var id: String { "\(namespace)/\(name)" }

  public init(namespace: String, name: String, created: Int64 = 0, targets: [Target], clients: [String] = []) {
    self.namespace = namespace
    self.name = name
    self.created = created
    self.targets = targets
    self.clients = clients
  }
}

/// In milliseconds, 0 for none; nil leaves one to the next policy, or to its default.
public struct Timeouts: Hashable, Sendable {
  /// From the request's head, as it was read, to the response's last byte: of all tries together.
  public var request: UInt32?
  public var perTry: UInt32?
  /// Of a connection without a request, or a stream without a byte.
  public var idle: UInt32?
  public var connect: UInt32?

  public init(request: UInt32? = nil, perTry: UInt32? = nil, idle: UInt32? = nil, connect: UInt32? = nil) {
    self.request = request
    self.perTry = perTry
    self.idle = idle
    self.connect = connect
  }
}

public struct RetryPolicy: Hashable, Sendable {
  /// Tries beyond the first; 0 to 20.
  public var attempts: UInt32
  /// HTTP statuses to retry.
  public var statuses: [UInt16]
  /// gRPC statuses to retry (0 to 16).
  public var grpcStatuses: [UInt8]
  public var onConnectFailure: Bool
  /// The upstream reset, or closed without an answer.
  public var onReset: Bool
  /// Also methods that aren't idempotent (RFC 9110 §9.2.2).
  public var retriesNonIdempotent: Bool
  /// Exponential from `backoff` to `maximumBackoff`, with full jitter.
  public var backoff: UInt32
  public var maximumBackoff: UInt32
  /// A request's bytes kept for a replay; beyond it there is none. At most 1 MiB.
  public var bufferLimit: UInt32

  public init(
    attempts: UInt32 = 1, statuses: [UInt16] = [502, 503, 504], grpcStatuses: [UInt8] = [14],
    onConnectFailure: Bool = true, onReset: Bool = true, retriesNonIdempotent: Bool = false, backoff: UInt32 = 25,
    maximumBackoff: UInt32 = 250, bufferLimit: UInt32 = 64 << 10
  ) {
    self.attempts = attempts
    self.statuses = statuses
    self.grpcStatuses = grpcStatuses
    self.onConnectFailure = onConnectFailure
    self.onReset = onReset
    self.retriesNonIdempotent = retriesNonIdempotent
    self.backoff = backoff
    self.maximumBackoff = maximumBackoff
    self.bufferLimit = bufferLimit
  }
}

/// Gateway API's retryConstraint (GEP-3388): of the active requests of the interval so many per cent may be retries.
public struct RetryBudget: Hashable, Sendable {
  /// 0 to 100.
  public var percent: UInt32
  public var interval: UInt32
  /// Retries that are always allowed: `minimumRate` in `minimumInterval`.
  public var minimumRate: UInt32
  public var minimumInterval: UInt32

  public init(percent: UInt32 = 20, interval: UInt32 = 10_000, minimumRate: UInt32 = 10, minimumInterval: UInt32 = 1000)
  {
    self.percent = percent
    self.interval = interval
    self.minimumRate = minimumRate
    self.minimumInterval = minimumInterval
  }
}

/// A second try beside the first, once that takes longer than most.
public struct Hedging: Hashable, Sendable {
  /// 1 to 99: of the latencies seen.
  public var percentile: UInt32
  /// Never before so many milliseconds.
  public var minimumDelay: UInt32

  public init(percentile: UInt32 = 95, minimumDelay: UInt32 = 5) {
    self.percentile = percentile
    self.minimumDelay = minimumDelay
  }
}

/// Per Service and node; nil: no limit.
public struct CircuitBreaker: Hashable, Sendable {
  public var maxConnections: UInt32?
  public var maxPending: UInt32?
  public var maxRequests: UInt32?
  public var maxRetries: UInt32?

  public init(
    maxConnections: UInt32? = nil, maxPending: UInt32? = nil, maxRequests: UInt32? = nil, maxRetries: UInt32? = nil
  ) {
    self.maxConnections = maxConnections
    self.maxPending = maxPending
    self.maxRequests = maxRequests
    self.maxRetries = maxRetries
  }
}

public struct OutlierDetection: Hashable, Sendable {
  /// Errors (5xx, connect failures, resets) in a row; 0: not looked at.
  public var consecutiveErrors: UInt32
  public var interval: UInt32
  /// Times the number of ejections, up to `maximumEjectionTime`.
  public var baseEjectionTime: UInt32
  public var maximumEjectionTime: UInt32
  /// Of a Service's endpoints, 0 to 100.
  public var maximumEjectionPercent: UInt32
  /// Ejected where its success rate lies so many thousandths of a standard deviation below the mean; 0: not looked at.
  public var successRateDeviation: UInt32
  /// For the success rate: so many requests in an interval at least, of so many endpoints.
  public var minimumRequests: UInt32
  public var minimumEndpoints: UInt32
  /// Ejected where its mean latency is so many per cent of the others' median; 0: not looked at.
  public var latencyPercent: UInt32

  public init(
    consecutiveErrors: UInt32 = 5, interval: UInt32 = 10_000, baseEjectionTime: UInt32 = 30_000,
    maximumEjectionTime: UInt32 = 300_000, maximumEjectionPercent: UInt32 = 10, successRateDeviation: UInt32 = 0,
    minimumRequests: UInt32 = 100, minimumEndpoints: UInt32 = 5, latencyPercent: UInt32 = 0
  ) {
    self.consecutiveErrors = consecutiveErrors
    self.interval = interval
    self.baseEjectionTime = baseEjectionTime
    self.maximumEjectionTime = maximumEjectionTime
    self.maximumEjectionPercent = maximumEjectionPercent
    self.successRateDeviation = successRateDeviation
    self.minimumRequests = minimumRequests
    self.minimumEndpoints = minimumEndpoints
    self.latencyPercent = latencyPercent
  }
}

/// A token bucket for each distinct value of its keys.
public struct RateLimit: Hashable, Sendable {
  public enum Key: Hashable, Sendable {
    case clientIdentity
    case route
    /// Lower case.
    case header(String)
  }

  /// Empty: one bucket for all.
  public var keys: [Key]
  public var requests: UInt32
  /// Milliseconds in which `requests` tokens flow in.
  public var interval: UInt32
  public var burst: UInt32

  public init(keys: [Key] = [], requests: UInt32, interval: UInt32 = 1000, burst: UInt32) {
    self.keys = keys
    self.requests = requests
    self.interval = interval
    self.burst = burst
  }
}

/// A limit of requests in flight that follows the latency (gradient, as in Netflix' concurrency-limits).
public struct AdaptiveConcurrency: Hashable, Sendable {
  public var minimum: UInt32
  public var maximum: UInt32

  public init(minimum: UInt32 = 4, maximum: UInt32 = 1000) {
    self.minimum = minimum
    self.maximum = maximum
  }
}

public struct Fault: Hashable, Sendable {
  public enum Effect: Hashable, Sendable {
    case delay(UInt32)
    /// An HTTP status.
    case abort(UInt16)
    /// A gRPC status.
    case abortGRPC(UInt8)
  }

  public var effect: Effect
  /// Of 10,000 requests so many.
  public var perTenThousand: UInt32
  /// Requests whose header of that name (lower case) has that value only; nil: all.
  public var header: RouteMatch.Value?

  public init(effect: Effect, perTenThousand: UInt32 = 10_000, header: RouteMatch.Value? = nil) {
    self.effect = effect
    self.perTenThousand = perTenThousand
    self.header = header
  }
}

public struct Locality: Hashable, Sendable {
  /// Prefer endpoints of the same node, then zone, then region.
  public var isPreferred: Bool
  /// Below so many per cent of healthy endpoints all are used, healthy or not.
  public var panicThreshold: UInt32
  /// A locality takes its full share while at least 100/`overprovisioning` of its endpoints are healthy, in per cent.
  public var overprovisioning: UInt32

  public init(isPreferred: Bool = true, panicThreshold: UInt32 = 50, overprovisioning: UInt32 = 140) {
    self.isPreferred = isPreferred
    self.panicThreshold = panicThreshold
    self.overprovisioning = overprovisioning
  }
}

public struct LoadBalancer: Hashable, Sendable {
  public enum HashSource: Hashable, Sendable {
    /// Lower case.
    case header(String)
    /// Set by the proxy where the client has none and `ttl` (seconds) isn't nil.
    case cookie(String, ttl: UInt32?)
    case sourceAddress
  }

  public enum Algorithm: Hashable, Sendable {
    case roundRobin
    case random
    case leastRequest
    /// Power of two choices by peak-EWMA of the latency times requests in flight: the default of HTTP.
    case peakEWMA
    case ringHash(HashSource)
    case maglev(HashSource)
  }

  public var algorithm: Algorithm
  /// A new endpoint's weight grows from a tenth to the whole in this time.
  public var slowStart: UInt32

  public init(algorithm: Algorithm = .peakEWMA, slowStart: UInt32 = 0) {
    self.algorithm = algorithm
    self.slowStart = slowStart
  }
}

/// What the proxy adds to requests and responses.
public struct HeaderOptions: Hashable, Sendable {
  public var forwardedFor: Bool
  public var via: Bool
  public var requestID: Bool
  /// `weft-reason` on refusals.
  public var reason: Bool

  public init(forwardedFor: Bool = true, via: Bool = false, requestID: Bool = true, reason: Bool = false) {
    self.forwardedFor = forwardedFor
    self.via = via
    self.requestID = requestID
    self.reason = reason
  }
}
