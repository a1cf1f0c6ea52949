/// What a Service's port speaks: how much of it the proxy reads.
public enum AppProtocol: UInt8, Hashable, Sendable, CaseIterable {
  /// Not declared: the first bytes say it; a server that speaks first is carried as TCP after a bounded wait.
  case unknown
  case tcp
  case http
  /// HTTP/2 with prior knowledge (RFC 9113 §3.3); gRPC is this with trailers.
  case http2
  case grpc
  /// Passed through, routed by the ClientHello's server name.
  case tls

  /// The standard names of `appProtocol` (Kubernetes: IANA service names, and the `kubernetes.io/` ones) and Istio's
  /// `name`, `name-suffix` of ports. nil: no protocol that changes what the proxy does.
  public init?(declared text: String) {
    switch text.lowercased() {
    case "http", "kubernetes.io/ws", "http1", "http/1.1", "ws": self = .http
    case "http2", "kubernetes.io/h2c", "h2c": self = .http2
    case "grpc", "grpc-web": self = .grpc
    case "https", "tls", "kubernetes.io/wss", "wss": self = .tls
    case "tcp", "mongo", "mysql", "redis", "smtp", "postgresql", "ssh": self = .tcp
    default: return nil
    }
  }

  /// `appProtocol` where it says something, else the port's name up to its first hyphen, else unknown.
  public init(appProtocol: String, portName: String) {
    let prefix = portName.split(separator: "-", maxSplits: 1).first.map(String.init) ?? ""
    self = AppProtocol(declared: appProtocol) ?? AppProtocol(declared: prefix) ?? .unknown
  }

  public var isHTTP: Bool { self == .http || self == .http2 || self == .grpc }
}
