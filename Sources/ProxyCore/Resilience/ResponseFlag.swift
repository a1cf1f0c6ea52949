/// Why a request had no answer of its upstream, or an unusual one: Envoy's codes, for access logs and metrics.
public enum ResponseFlag: String, Sendable, Hashable, CaseIterable {
  case noHealthyUpstream = "UH"
  case connectFailure = "UF"
  case overflow = "UO"
  case noRoute = "NR"
  case noCluster = "NC"
  case retryLimit = "URX"
  case upstreamTermination = "UC"
  case upstreamTimeout = "UT"
  case upstreamReset = "UR"
  case downstreamClosed = "DC"
  case rateLimited = "RL"
  case faultAbort = "FI"
  case streamIdleTimeout = "SI"
  case downstreamProtocolError = "DPE"
  case upstreamProtocolError = "UPE"

  /// In a line; the value of `weft-reason`.
  public var reason: String {
    switch self {
    case .noHealthyUpstream: "no healthy upstream endpoint"
    case .connectFailure: "connecting to the upstream failed"
    case .overflow: "a circuit breaker's limit is reached"
    case .noRoute: "no route matches"
    case .noCluster: "the route's backend doesn't exist"
    case .retryLimit: "the retries are used up"
    case .upstreamTermination: "the upstream closed the connection"
    case .upstreamTimeout: "the upstream took too long"
    case .upstreamReset: "reset by the upstream"
    case .downstreamClosed: "the client closed the connection"
    case .rateLimited: "a rate limit is reached"
    case .faultAbort: "aborted by fault injection"
    case .streamIdleTimeout: "nothing was sent for too long"
    case .downstreamProtocolError: "the client broke the protocol"
    case .upstreamProtocolError: "the upstream broke the protocol"
    }
  }
}
