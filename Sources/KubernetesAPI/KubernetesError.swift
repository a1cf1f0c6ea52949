/// Why a request to the API server brought nothing.
public enum KubernetesError: Error, Hashable, Sendable, CustomStringConvertible {
  /// No connection, or it broke.
  case unreachable(String)
  /// What came is no answer of a Kubernetes API.
  case malformed(String)
  /// 401, 403: what is missing is in the message.
  case refused(Int, String)
  /// 404: also of a kind whose CRD isn't installed.
  case notFound(String)
  /// 409: it exists already, has changed meanwhile, or its fields are another manager's.
  case conflict(String)
  /// 410: the resource version is too old, or of another history: everything has to be listed again.
  case gone
  /// 429, 503 with Retry-After, in seconds.
  case throttled(after: Int)
  /// Any other status.
  case failed(Int, String)

  public var description: String {
    switch self {
    case .unreachable(let reason): "the API server can't be reached: \(reason)"
    case .malformed(let reason): "the API server's answer can't be read: \(reason)"
    case .refused(let status, let message): "the API server refuses it (\(status)): \(message)"
    case .notFound(let message): "not found: \(message)"
    case .conflict(let message): "conflict: \(message)"
    case .gone: "the resource version is gone (410)"
    case .throttled(let seconds): "the API server asks for \(seconds) s of patience"
    case .failed(let status, let message): "the API server answers \(status): \(message)"
    }
  }

  /// Of an answer that is no success.
  /// - Parameters:
  ///   - body: a `Status` object, as a rule; anything else is told as it is, cut.
  ///   - retryAfter: the field's value, in seconds; nil: none, or no number.
  public init(status: Int, body: some Collection<UInt8>, retryAfter: Int?) {
    let message = Self.message(in: body)
    switch status {
    case 401, 403: self = .refused(status, message)
    case 404: self = .notFound(message)
    case 409: self = .conflict(message)
    case 410: self = .gone
    case 429: self = .throttled(after: min(max(retryAfter ?? 1, 1), 300))
    case 500...599 where retryAfter != nil: self = .throttled(after: min(max(retryAfter ?? 1, 1), 300))
    default: self = .failed(status, message)
    }
  }

  private static func message(in body: some Collection<UInt8>) -> String {
    if let message = try? JSONReader.read(body)["message"]?.text { return String(message.prefix(500)) }
    return String(decoding: body.prefix(200), as: UTF8.self)
  }
}
