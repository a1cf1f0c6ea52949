import MeshModel

/// Routes in a few words, for people. Every text and every list has a bound.
enum TrafficText {
  static let listBound = 16
  /// Characters of a text.
  private static let textBound = 200

  static func clipped(_ text: String) -> String {
    text.utf8.count > textBound && text.count > textBound ? "\(text.prefix(textBound - 1))…" : text
  }

  /// The first ones, and how many more there are.
  static func list<Value>(_ values: [Value], _ text: (Value) -> String = { "\($0)" }) -> [String] {
    let texts = values.prefix(listBound).map { clipped(text($0)) }
    return values.count > listBound ? texts + ["and \(values.count - listBound) more"] : texts
  }

  private static func joined<Value>(_ values: [Value], _ text: (Value) -> String = { "\($0)" }) -> String {
    list(values, text).joined(separator: ", ")
  }

  /// Of milliseconds: `250ms`, `5s`, `1500ms`.
  static func time(_ milliseconds: UInt32) -> String {
    milliseconds > 0 && milliseconds.isMultiple(of: 1000) ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
  }

  /// Of ten thousand: `10%`, `0.25%`.
  static func share(_ perTenThousand: UInt32) -> String {
    let (whole, rest) = (perTenThousand / 100, perTenThousand % 100)
    guard rest > 0 else { return "\(whole)%" }
    return rest.isMultiple(of: 10) ? "\(whole).\(rest / 10)%" : "\(whole).\(rest < 10 ? "0" : "")\(rest)%"
  }

  // MARK: Routes

  /// As nginx writes it: `= /exact`, `/prefix`, `~ /expression.*`.
  static func match(_ match: RouteMatch) -> String {
    let path =
      switch match.path {
      case .exact(let text): "= \(text)"
      case .prefix(let text): text
      case .regularExpression(let text): "~ \(text)"
      }
    var parts = [match.method.isEmpty ? path : "\(match.method) \(path)"]
    parts += list(match.headers) { "header \(value($0))" }
    parts += list(match.queryParameters) { "query \(value($0))" }
    return parts.joined(separator: " and ")
  }

  private static func value(_ value: RouteMatch.Value) -> String {
    "\(value.name) \(value.isRegularExpression ? "~" : "=") \(value.value)"
  }

  static func filter(_ filter: RouteFilter) -> String {
    switch filter {
    case .requestHeaders(let edit): "request headers: \(headerEdit(edit))"
    case .responseHeaders(let edit): "response headers: \(headerEdit(edit))"
    case .redirect(let redirect): "redirect \(redirect.status) to \(Self.redirect(redirect))"
    case .rewrite(let rewrite):
      "rewrite "
        + [rewrite.hostname.isEmpty ? nil : "host to \(rewrite.hostname)", rewrite.path.map(modifier)]
        .compactMap(\.self).joined(separator: ", ")
    case .mirror(let mirror):
      "mirror \(mirror.numerator) of \(mirror.denominator) to \(mirror.service):\(mirror.port)"
        + (mirror.invalid.isEmpty ? "" : " (invalid: \(mirror.invalid))")
    case .cors(let cors): "CORS for \(joined(cors.allowOrigins))"
    }
  }

  private static func headerEdit(_ edit: HeaderEdit) -> String {
    let parts =
      edit.set.map { "set \($0.name)" } + edit.add.map { "add \($0.name)" } + edit.remove.map { "remove \($0)" }
    return joined(parts)
  }

  private static func redirect(_ redirect: Redirect) -> String {
    let place =
      (redirect.scheme.isEmpty ? "" : "\(redirect.scheme)://") + redirect.hostname
      + (redirect.port.map { ":\($0)" } ?? "")
    let parts = [place.isEmpty ? nil : place, redirect.path.map(modifier)]
    let text = parts.compactMap(\.self).joined(separator: ", ")
    return text.isEmpty ? "itself" : text
  }

  private static func modifier(_ modifier: PathModifier) -> String {
    switch modifier {
    case .replaceFull(let path): "path to \(path)"
    case .replacePrefix(let path): "prefix to \(path.isEmpty ? "/" : path)"
    }
  }

  // MARK: Policies

  static func target(_ target: TrafficPolicy.Target) -> String {
    switch target.kind {
    case .service(let key): target.port.map { "\(key):\($0)" } ?? "\(key)"
    case .route(let id): id
    }
  }

  static func balancer(_ balancer: LoadBalancer) -> String {
    let algorithm =
      switch balancer.algorithm {
      case .roundRobin: "round robin"
      case .random: "random"
      case .leastRequest: "least request"
      case .peakEWMA: "peak EWMA"
      case .ringHash(let source): "ring hash by \(hash(source))"
      case .maglev(let source): "Maglev by \(hash(source))"
      }
    return balancer.slowStart > 0 ? "\(algorithm), slow start \(time(balancer.slowStart))" : algorithm
  }

  private static func hash(_ source: LoadBalancer.HashSource) -> String {
    switch source {
    case .header(let name): "header \(clipped(name))"
    case .cookie(let name, let ttl): "cookie \(clipped(name))" + (ttl.map { ", set for \($0)s" } ?? "")
    case .sourceAddress: "source address"
    }
  }

  static func locality(_ locality: Locality) -> String {
    (locality.isPreferred ? "the nearest first, overprovisioning \(locality.overprovisioning)%" : "all alike")
      + ", panic below \(locality.panicThreshold)%"
  }

  static func session(_ session: SessionPersistence) -> String {
    "\(session.isHeader ? "header" : "cookie") \(clipped(session.name))"
      + (session.absoluteTimeout.map { ", \($0)s" } ?? "") + (session.idleTimeout.map { ", idle \($0)s" } ?? "")
      + (session.isPermanent ? ", permanent" : "")
  }

  static func timeouts(_ timeouts: Timeouts) -> String {
    let parts = [
      ("request", timeouts.request), ("try", timeouts.perTry), ("idle", timeouts.idle), ("connect", timeouts.connect),
    ]
    return parts.compactMap { name, value in value.map { "\(name) \(time($0))" } }.joined(separator: ", ")
  }

  static func retry(_ retry: RetryPolicy) -> String {
    var causes = retry.statuses.prefix(listBound).map { "\($0)" }
    causes += retry.grpcStatuses.prefix(listBound).map { "gRPC \($0)" }
    if retry.onConnectFailure { causes.append("connect failure") }
    if retry.onReset { causes.append("reset") }
    return "\(retry.attempts) times on \(causes.isEmpty ? "nothing" : causes.joined(separator: ", "))"
      + "; backoff \(time(retry.backoff)) to \(time(retry.maximumBackoff))"
      + (retry.retriesNonIdempotent ? "; any method" : "") + "; bodies up to \(retry.bufferLimit) bytes"
  }

  static func budget(_ budget: RetryBudget) -> String {
    "\(budget.percent)% of the requests in \(time(budget.interval)), at least \(budget.minimumRate) in "
      + time(budget.minimumInterval)
  }

  static func circuit(_ limits: CircuitBreaker) -> String {
    let parts = [
      ("connections", limits.maxConnections), ("pending", limits.maxPending), ("requests", limits.maxRequests),
      ("retries", limits.maxRetries),
    ]
    let text = parts.compactMap { name, value in value.map { "\($0) \(name)" } }.joined(separator: ", ")
    return text.isEmpty ? "no limit" : text
  }

  static func outliers(_ detection: OutlierDetection) -> String {
    var causes: [String] = []
    if detection.consecutiveErrors > 0 { causes.append("\(detection.consecutiveErrors) errors in a row") }
    if detection.successRateDeviation > 0 {
      causes.append("success rate \(thousandths(detection.successRateDeviation)) deviations below the mean")
    }
    if detection.latencyPercent > 0 { causes.append("latency over \(detection.latencyPercent)% of the median") }
    return (causes.isEmpty ? "nothing" : causes.joined(separator: ", "))
      + "; ejected for \(time(detection.baseEjectionTime)) to \(time(detection.maximumEjectionTime))"
      + ", at most \(detection.maximumEjectionPercent)%; every \(time(detection.interval))"
  }

  private static func thousandths(_ value: UInt32) -> String {
    let rest = "\(1000 + value % 1000)".dropFirst()
    return "\(value / 1000).\(rest)"
  }

  static func rateLimit(_ limit: RateLimit) -> String {
    let keys = list(limit.keys) { key in
      switch key {
      case .clientIdentity: "client"
      case .route: "route"
      case .header(let name): "header \(name)"
      }
    }
    return "\(limit.requests) in \(time(limit.interval)), burst \(limit.burst)"
      + (keys.isEmpty ? "" : ", for each \(keys.joined(separator: " and "))")
  }

  static func fault(_ fault: Fault) -> String {
    let effect =
      switch fault.effect {
      case .delay(let milliseconds): "delay \(time(milliseconds))"
      case .abort(let status): "abort \(status)"
      case .abortGRPC(let status): "abort gRPC \(status)"
      }
    return "\(effect) for \(share(fault.perTenThousand))"
      + (fault.header.map { clipped(" where header \(value($0))") } ?? "")
  }

  static func headers(_ options: HeaderOptions) -> String {
    [
      ("x-forwarded-for", options.forwardedFor), ("via", options.via), ("x-request-id", options.requestID),
      ("weft-reason", options.reason),
    ].map { "\($0.0) \($0.1 ? "on" : "off")" }.joined(separator: ", ")
  }
}
