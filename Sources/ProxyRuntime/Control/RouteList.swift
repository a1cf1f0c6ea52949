import MeshModel

/// What `weft routes` shows.
struct RouteList: Encodable {
  struct Parent: Encodable {
    let service: String
    /// Absent: all ports.
    let port: UInt16?
    /// producer, or consumer: for clients of the route's own namespace
    let role: String
  }

  struct Backend: Encodable {
    let service: String
    let port: UInt16
    let weight: UInt32
    let filters: [String]
    /// Empty: valid.
    let invalid: String
  }

  struct Rule: Encodable {
    let name: String
    let matches, filters: [String]
    let settings: [String]
    let backends: [Backend]
    let backend_count: Int
  }

  struct Entry: Encodable {
    let kind, namespace, name: String
    let parents: [Parent]
    let hostnames: [String]
    /// The first ones.
    let rules: [Rule]
    let rule_count: Int
  }

  /// All that are in force.
  let total: Int
  let routes: [Entry]

  /// - Parameter bound: of rules; a route without any counts as one.
  init(_ routes: [Route], bound: Int) {
    total = routes.count
    var left = bound
    var entries: [Entry] = []
    for route in routes where left > 0 {
      let rules = route.rules.prefix(left)
      left -= max(1, rules.count)
      entries.append(
        Entry(
          kind: route.kind.objectKind, namespace: route.namespace, name: route.name,
          parents: route.parents.prefix(TrafficText.listBound).map {
            Parent(
              service: $0.service.description, port: $0.port, role: route.isConsumer(of: $0) ? "consumer" : "producer")
          }, hostnames: TrafficText.list(route.hostnames), rules: rules.map(Rule.init),
          rule_count: route.rules.count))
    }
    self.routes = entries
  }
}

extension RouteList.Rule {
  fileprivate init(_ rule: RouteRule) {
    name = rule.name
    matches = TrafficText.list(rule.matches, TrafficText.match)
    filters = TrafficText.list(rule.filters, TrafficText.filter)
    var settings: [String] = []
    if let time = rule.requestTimeout { settings.append("request \(TrafficText.time(time))") }
    if let time = rule.backendRequestTimeout { settings.append("try \(TrafficText.time(time))") }
    if let retry = rule.retry { settings.append("retry \(TrafficText.retry(retry))") }
    if let session = rule.sessionPersistence { settings.append("session by \(TrafficText.session(session))") }
    self.settings = settings
    backends = rule.backends.prefix(TrafficText.listBound).map {
      RouteList.Backend(
        service: $0.service.description, port: $0.port, weight: $0.weight,
        filters: TrafficText.list($0.filters, TrafficText.filter), invalid: TrafficText.clipped($0.invalid))
    }
    backend_count = rule.backends.count
  }
}
