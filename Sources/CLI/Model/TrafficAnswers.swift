/// The agent's `/v1/routes`: as many as have 1,000 rules.
struct RoutesAnswer: Decodable, Sendable {
  var total: Int
  var routes: [Entry]

  struct Entry: Decodable, Sendable {
    /// Whose answer it is, where several agents were asked.
    var agent: String?
    /// HTTPRoute, GRPCRoute, TCPRoute or TLSRoute
    var kind: String
    var namespace: String
    var name: String
    var parents: [Parent]
    var hostnames: [String]
    /// The first ones of `ruleCount`.
    var rules: [Rule]
    var ruleCount: Int
  }

  struct Parent: Decodable, Sendable {
    var service: String
    /// Absent: all ports.
    var port: Int?
    /// producer or consumer
    var role: String
  }

  struct Rule: Decodable, Sendable {
    var name: String
    var matches: [String]
    var filters: [String]
    var settings: [String]
    /// The first ones of `backendCount`.
    var backends: [Backend]
    var backendCount: Int
  }

  struct Backend: Decodable, Sendable {
    var service: String
    var port: Int
    var weight: Int
    var filters: [String]
    /// Why its share is answered by 500; empty: valid.
    var invalid: String
  }
}

/// The agent's `/v1/policies`: the first 1,000.
struct PoliciesAnswer: Decodable, Sendable {
  var total: Int
  var policies: [Entry]

  struct Entry: Decodable, Sendable {
    /// Whose answer it is, where several agents were asked.
    var agent: String?
    var namespace: String
    var name: String
    var targets: [String]
    /// Empty: all.
    var clients: [String]
    var settings: [Setting]
  }

  struct Setting: Decodable, Sendable {
    var name: String
    var value: String
  }
}

/// The agent's `/v1/endpoints` and `/v1/endpoints/NAMESPACE/NAME`: the first 1,000.
struct EndpointsAnswer: Decodable, Sendable {
  /// There are more.
  var truncated: Bool
  var endpoints: [Entry]

  struct Entry: Decodable, Sendable {
    /// Whose answer it is, where several agents were asked.
    var agent: String?
    var service: String
    var port: Int
    var address: String
    var workload: String
    var ready: Bool
    var draining: Bool
    var weight: Int
    /// node, zone, region or other
    var locality: String
    /// delivery, tunnel or plaintext
    var transport: String
    /// How many of the proxy's balancers have it; 0: no request has used it yet.
    var balancers: Int
    /// How many of them have ejected it, for how much longer at most, and how many of those use it all the same.
    var ejected: Int
    var ejectedSeconds: Double?
    var panicking: Int
    var ejections: Int
    /// Under way.
    var requests: Int
    var connections: Int
    var latencyMs: Double?
  }
}
