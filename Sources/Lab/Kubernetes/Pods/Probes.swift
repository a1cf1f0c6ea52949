import KubernetesAPI

enum ProbeKind: String, CaseIterable, Sendable {
  case startup = "startupProbe"
  case liveness = "livenessProbe"
  case readiness = "readinessProbe"
}

struct ProbeSpec: Sendable, Equatable {
  enum Check: Sendable, Equatable {
    case exec([String])
    /// - Parameter host: empty: the pod's address.
    case tcp(host: String, port: UInt16)
    case http(HTTPCheck)
    /// What this kubelet can't ask (gRPC) never succeeds.
    case unknown
  }

  struct HTTPCheck: Sendable, Equatable {
    var host: String
    var port: UInt16
    var path: String
    var isTLS: Bool
    var headers: [[String]]
  }

  var check: Check
  /// Milliseconds, as all times here.
  var delay: Int64
  var period: Int64
  var timeout: Int64
  var successThreshold: Int
  var failureThreshold: Int

  init(_ node: JSONNode, ports: [String: UInt16]) {
    func seconds(_ name: String, _ fallback: Int) -> Int64 { Int64(node[name]?.integer ?? fallback) * 1000 }
    func port(_ node: JSONNode?) -> UInt16 {
      if let number = node?.integer { return UInt16(exactly: number) ?? 0 }
      return node?.text.flatMap { ports[$0] ?? UInt16($0) } ?? 0
    }
    if let command = node["exec"]?["command"] {
      check = .exec(command.strings)
    } else if let http = node["httpGet"] {
      let headers = (http["httpHeaders"]?.elements ?? []).map { [$0["name"]?.text ?? "", $0["value"]?.text ?? ""] }
      check = .http(
        HTTPCheck(
          host: http["host"]?.text ?? "", port: port(http["port"]), path: http["path"]?.text ?? "/",
          isTLS: http["scheme"]?.text == "HTTPS", headers: headers))
    } else if let tcp = node["tcpSocket"] {
      check = .tcp(host: tcp["host"]?.text ?? "", port: port(tcp["port"]))
    } else {
      check = .unknown
    }
    delay = seconds("initialDelaySeconds", 0)
    period = max(seconds("periodSeconds", 10), 1000)
    timeout = max(seconds("timeoutSeconds", 1), 100)
    successThreshold = max(node["successThreshold"]?.integer ?? 1, 1)
    failureThreshold = max(node["failureThreshold"]?.integer ?? 3, 1)
  }
}

/// When a probe is asked next, and what its answers so far amount to. Pure.
struct ProbeState: Sendable {
  /// Until its first success a readiness probe is asked this often, in milliseconds, or by its period where that is
  /// shorter: a failure says nothing new then, and a start need not wait for a period's end.
  static let eager: Int64 = 250

  let spec: ProbeSpec
  let kind: ProbeKind
  /// Whether the container counts as started, alive or ready.
  private(set) var isGood: Bool
  /// Too many failures in a row: of a startup or liveness probe the container is to be ended.
  private(set) var hasFailed = false
  private(set) var next: Int64
  private var isAsked = false
  private var successes = 0
  private var failures = 0

  /// - Parameter start: when the container was started.
  init(_ spec: ProbeSpec, kind: ProbeKind, start: Int64) {
    self.spec = spec
    self.kind = kind
    isGood = kind == .liveness
    next = start + spec.delay
  }

  /// Whether it is to be asked now.
  mutating func isDue(_ now: Int64) -> Bool {
    // A startup probe is over with its first success.
    guard !isAsked, now >= next, !hasFailed, kind != .startup || !isGood else { return false }
    isAsked = true
    return true
  }

  /// When `isDue` may be true again; nil while an answer is awaited, or forever.
  var deadline: Int64? { isAsked || hasFailed || (kind == .startup && isGood) ? nil : next }

  mutating func answered(_ isSuccess: Bool, now: Int64) {
    isAsked = false
    if isSuccess {
      successes += 1
      failures = 0
      if successes >= spec.successThreshold { isGood = true }
    } else {
      failures += 1
      successes = 0
      if failures >= spec.failureThreshold {
        if kind == .readiness { isGood = false } else { hasFailed = true }
      }
    }
    let isEager = kind == .readiness && !isGood
    next = now + (isEager ? min(Self.eager, spec.period) : spec.period)
  }

  /// Not before a startup probe's success.
  mutating func postpone(to time: Int64) { next = max(next, time) }
}
