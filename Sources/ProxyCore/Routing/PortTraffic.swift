import MeshModel

/// What holds for one port of a Service: its protocol, its routes and the policies on them. Immutable: made by the
/// control thread, read by all workers, and replaced whole, so that a request sees the old set or the new one.
public final class PortTraffic: Sendable {
  public let service: ServiceKey
  public let port: UInt16
  public let appProtocol: AppProtocol
  public let routes: RouteTable
  public let connections: L4RouteTable
  private let outlierBoards: [OutlierJudges: OutlierBoard]
  /// Those that name the Service, this port, or a route of it; the oldest first.
  private let policies: [TrafficPolicy]
  /// By the policies' ids.
  private let counters: [String: PolicyCounters]
  /// Where no policy says a limit.
  private let defaultLimits: CircuitLimits
  private let defaultBudget: SharedRetryBudget
  /// The policy whose circuit breaker holds for all clients.
  private let breakerOwner: String?
  /// Routes whose policies say how their backends are reached.
  private let shapedRoutes: Set<String>

  /// - Parameters:
  ///   - previous: the port as it was.
  ///   - now: for limits that begin.
  init(
    service: ServiceKey, port: Service.Port, routes: [Route], policies: [TrafficPolicy], previous: PortTraffic?,
    now: NanoTime
  ) {
    self.service = service
    self.port = port.port
    appProtocol = AppProtocol(appProtocol: port.appProtocol, portName: port.name)
    self.routes = RouteTable(routes: routes, service: service, port: port.port)
    connections = L4RouteTable(routes: routes, service: service, port: port.port)
    let policies = policies.filter { policy in
      policy.targets.contains { $0.port == nil || $0.port == port.port }
    }.sorted { ($0.created, $0.id) < ($1.created, $1.id) }
    self.policies = policies
    let owner = policies.ranked(service, port.port, client: nil, routeID: nil).first { $0.circuitBreaker != nil }?.id
    breakerOwner = owner
    // Whoever sets the limit for all takes over what is under way from a policy that has gone, or from none.
    let inherited = previous.flatMap { previous in
      policies.contains { $0.id == previous.breakerOwner && $0.circuitBreaker != nil } ? nil : previous.allLimits
    }
    var counters: [String: PolicyCounters] = [:]
    for policy in policies {
      counters[policy.id] = PolicyCounters(
        policy, previous: previous?.counters[policy.id], inherited: policy.id == owner ? inherited : nil, now: now)
    }
    self.counters = counters
    defaultLimits = owner == nil ? inherited ?? CircuitLimits() : CircuitLimits()
    defaultLimits.update(nil)
    defaultBudget = previous?.defaultBudget ?? SharedRetryBudget()
    shapedRoutes = Set(
      policies.lazy.filter(\.saysHowBackendsAreReached).flatMap { policy in
        policy.targets.compactMap { if case .route(let id) = $0.kind { id } else { nil } }
      })
    var boards: [OutlierJudges: OutlierBoard] = [:]
    for judges in OutlierJudges.of(policies, routes, service, port.port) {
      boards[judges] = previous?.outlierBoards[judges] ?? OutlierBoard()
    }
    outlierBoards = boards
  }

  private var allLimits: CircuitLimits { breakerOwner.flatMap { counters[$0]?.limits } ?? defaultLimits }

  /// Shared by all who judge a port's endpoints of that family by these settings; nil: no policy here has them for it.
  /// - Parameter service: this one, or a backend of one of its routes.
  public func outlierBoard(
    of detection: OutlierDetection, service: ServiceKey, port: UInt16, family: IPAddress.Family
  ) -> OutlierBoard? {
    outlierBoards[OutlierJudges(detection: detection, service: service, port: port, family: family)]
  }

  /// Whether clients meet different policies.
  public var distinguishesClients: Bool { policies.contains { !$0.clients.isEmpty } }

  /// The policies that hold for a client's requests by a route, folded into one: each setting comes from the most
  /// specific policy that says it. A route's policy goes before a port's, that before a Service's; of each, one that
  /// names the client before one for all; of equals the oldest.
  public func policy(client: SPIFFEID?, routeID: String?) -> EffectivePolicy {
    effective(counted(client, routeID))
  }

  /// Whether a route's policies say how its backends are reached: they have to be balanced for it apart.
  public func shapesBackends(ofRoute id: String) -> Bool { shapedRoutes.contains(id) }

  /// The policies that say how this port, as a backend, is reached: those of the route that leads there, then its own.
  /// - Parameter parent: the port that the route belongs to.
  public func backendPolicy(client: SPIFFEID?, routeID: String?, parent: PortTraffic?) -> EffectivePolicy {
    guard let routeID, let parent else { return policy(client: client, routeID: nil) }
    let ofRoute = parent.counted(client, routeID).filter { $0.policy.names(route: routeID) }
    return effective(ofRoute + counted(client, nil))
  }

  private func counted(
    _ client: SPIFFEID?, _ routeID: String?
  ) -> [(policy: TrafficPolicy, counters: PolicyCounters)] {
    policies.ranked(service, port, client: client, routeID: routeID).map { ($0, counters[$0.id]!) }
  }

  private func effective(_ policies: [(policy: TrafficPolicy, counters: PolicyCounters)]) -> EffectivePolicy {
    EffectivePolicy(policies, defaults: (defaultLimits, defaultBudget))
  }
}

extension [TrafficPolicy] {
  /// Those that hold, the most specific first.
  fileprivate func ranked(
    _ service: ServiceKey, _ port: UInt16, client: SPIFFEID?, routeID: String?
  ) -> [TrafficPolicy] {
    var ranked: [(rank: Int, policy: TrafficPolicy)] = []
    for policy in self {
      guard let clientRank = policy.rank(of: client),
        let targetRank = policy.rank(service: service, port: port, routeID: routeID)
      else { continue }
      ranked.append((targetRank * 3 + clientRank, policy))
    }
    // Stable: the oldest stays first among equals.
    let order = ranked.indices.sorted { (-ranked[$0].rank, $0) < (-ranked[$1].rank, $1) }
    return order.map { ranked[$0].policy }
  }
}

/// Who finds outliers together.
private struct OutlierJudges: Hashable {
  var detection: OutlierDetection
  var service: ServiceKey
  var port: UInt16
  var family: IPAddress.Family

  /// A port's policies judge its own endpoints, a route's those of the backends.
  static func of(
    _ policies: [TrafficPolicy], _ routes: [Route], _ service: ServiceKey, _ port: UInt16
  ) -> Set<OutlierJudges> {
    var all: Set<OutlierJudges> = []
    for policy in policies {
      guard let detection = policy.outlierDetection else { continue }
      var ports = [(service, port)]
      for route in routes where policy.names(route: route.id) {
        ports += route.rules.flatMap(\.backends).map { ($0.service, $0.port) }
      }
      for (service, port) in ports {
        for family in [IPAddress.Family.v4, .v6] {
          all.insert(OutlierJudges(detection: detection, service: service, port: port, family: family))
        }
      }
    }
    return all
  }
}

extension TrafficPolicy {
  fileprivate func names(route id: String) -> Bool { targets.contains { $0.kind == .route(id) } }

  /// As opposed to what becomes of a request before its backend is drawn.
  fileprivate var saysHowBackendsAreReached: Bool {
    loadBalancer != nil || locality != nil || outlierDetection != nil || circuitBreaker != nil || retryBudget != nil
      || timeouts.connect != nil
  }

  /// 2: names the route; 1: the port; 0: the Service; nil: none of them.
  fileprivate func rank(service: ServiceKey, port: UInt16, routeID: String?) -> Int? {
    var best: Int?
    for target in targets {
      switch target.kind {
      case .route(let id): if id == routeID { best = 2 }
      case .service(let key):
        guard key == service, target.port == nil || target.port == port else { continue }
        best = max(best ?? 0, target.port == nil ? 0 : 1)
      }
    }
    return best
  }

  /// 0: for all clients; 1: names the client's namespace; 2: its account; nil: holds for others.
  fileprivate func rank(of client: SPIFFEID?) -> Int? {
    guard !clients.isEmpty else { return 0 }
    guard let client else { return nil }
    if clients.contains("\(client.namespace)/\(client.serviceAccount)") { return 2 }
    return clients.contains(client.namespace) ? 1 : nil
  }
}
