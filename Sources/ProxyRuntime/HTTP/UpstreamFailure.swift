import ProxyCore

/// Why a try brought no (whole) response.
enum UpstreamFailure: Error {
  case connect(StreamFailure)
  /// The connection ended or was reset before the response was complete.
  case closed
  case reset
  /// What came is no HTTP.
  case malformed(String)
  case timeout
  /// The upstream has surely done nothing with it (RFC 9113 §8.7).
  case refused
  /// A bound of the proxy's own.
  case overflow
}

extension RetryState.Failure {
  init(_ failure: UpstreamFailure) {
    switch failure {
    case .connect: self = .connectFailure
    case .closed, .reset, .malformed, .overflow: self = .reset
    case .refused: self = .refused
    case .timeout: self = .perTryTimeout
    }
  }
}

extension UpstreamFailure {
  /// Whether it says something about the endpoint's health.
  var isOfTheEndpoint: Bool {
    switch self {
    case .overflow, .refused: false
    default: true
    }
  }

  /// As Envoy answers.
  var status: Int {
    switch self {
    case .connect, .closed, .reset, .refused, .overflow: 503
    case .malformed: 502
    case .timeout: 504
    }
  }

  var flag: ResponseFlag {
    switch self {
    case .connect: .connectFailure
    case .closed: .upstreamTermination
    case .reset, .refused: .upstreamReset
    case .overflow: .overflow
    case .malformed: .upstreamProtocolError
    case .timeout: .upstreamTimeout
    }
  }
}
