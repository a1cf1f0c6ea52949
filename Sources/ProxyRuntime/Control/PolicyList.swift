import MeshModel

/// What `weft policies` shows.
struct PolicyList: Encodable {
  struct Setting: Encodable {
    /// The field of the object's `spec`.
    let name: String
    let value: String
  }

  struct Entry: Encodable {
    let namespace, name: String
    let targets: [String]
    /// Empty: all.
    let clients: [String]
    let settings: [Setting]
  }

  /// All that are in force.
  let total: Int
  let policies: [Entry]

  init(_ policies: [TrafficPolicy], bound: Int) {
    total = policies.count
    self.policies = policies.prefix(bound).map { policy in
      Entry(
        namespace: policy.namespace, name: policy.name, targets: TrafficText.list(policy.targets, TrafficText.target),
        clients: TrafficText.list(policy.clients),
        settings: Self.settings(of: policy).map { Setting(name: $0.0, value: $0.1) })
    }
  }

  private static func settings(of policy: TrafficPolicy) -> [(String, String)] {
    var settings: [(String, String)] = []
    func add<Value>(_ name: String, _ value: Value?, _ text: (Value) -> String) {
      if let value { settings.append((name, text(value))) }
    }
    add("loadBalancer", policy.loadBalancer, TrafficText.balancer)
    add("locality", policy.locality, TrafficText.locality)
    add("sessionPersistence", policy.sessionPersistence, TrafficText.session)
    add("timeouts", policy.timeouts == Timeouts() ? nil : policy.timeouts, TrafficText.timeouts)
    add("retry", policy.retry, TrafficText.retry)
    add("retryBudget", policy.retryBudget, TrafficText.budget)
    add("hedging", policy.hedging) {
      "after the \($0.percentile)th percentile, \(TrafficText.time($0.minimumDelay)) at least"
    }
    add("circuitBreaker", policy.circuitBreaker, TrafficText.circuit)
    add("outlierDetection", policy.outlierDetection, TrafficText.outliers)
    add("adaptiveConcurrency", policy.adaptiveConcurrency) { "\($0.minimum) to \($0.maximum) requests" }
    for limit in policy.rateLimits.prefix(TrafficText.listBound) { add("rateLimits", limit, TrafficText.rateLimit) }
    for fault in policy.faults.prefix(TrafficText.listBound) { add("faults", fault, TrafficText.fault) }
    add("headers", policy.headers, TrafficText.headers)
    return settings
  }
}
