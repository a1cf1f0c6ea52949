import MeshModel

/// What holds for one port of a Service: its protocol, its routes and the policies on them. Immutable: made by the
/// control thread, read by all workers, and replaced whole, so that a request sees the old set or the new one.
public final class PortTraffic: Sendable {
  public let service: ServiceKey
  public let port: UInt16
  public let appProtocol: AppProtocol
  public let routes: RouteTable
  public let connections: L4RouteTable
  /// Shared by the node's workers, and kept over changes that don't concern them.
  public let limits: CircuitLimits
  public let budget: SharedRetryBudget
  public let adaptiveLimit: AdaptiveLimit?
  private let buckets: [RateLimit: TokenBuckets]
  private let outlierBoards: [OutlierJudges: OutlierBoard]
  /// Those that name the Service, this port, or a route of it; the oldest first.
  private let policies: [TrafficPolicy]

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
    self.policies = policies.filter { policy in
      policy.targets.contains { $0.port == nil || $0.port == port.port }
    }.sorted { ($0.created, $0.id) < ($1.created, $1.id) }
    // Limits of a node don't differ by client: the policies for all clients say them.
    let shared = EffectivePolicy(Self.ranked(self.policies, service, port.port, client: nil, routeID: nil))
    limits = previous?.limits ?? CircuitLimits()
    limits.update(shared.circuitBreaker)
    let budget = previous?.budget
    self.budget = budget?.policy == shared.retryBudget ? budget! : SharedRetryBudget(shared.retryBudget)
    if let adaptive = shared.adaptiveConcurrency {
      adaptiveLimit = previous?.adaptiveLimit ?? AdaptiveLimit(adaptive, now: now)
      adaptiveLimit?.update(adaptive)
    } else {
      adaptiveLimit = nil
    }
    var buckets: [RateLimit: TokenBuckets] = [:]
    var random = SystemRandomNumberGenerator()
    for limit in self.policies.flatMap(\.rateLimits) {
      buckets[limit] = previous?.buckets[limit] ?? TokenBuckets(limit, seed: random.next(), now: now)
    }
    self.buckets = buckets
    var boards: [OutlierJudges: OutlierBoard] = [:]
    for detection in self.policies.compactMap(\.outlierDetection) {
      for family in [IPAddress.Family.v4, .v6] {
        let judges = OutlierJudges(detection: detection, family: family)
        boards[judges] = previous?.outlierBoards[judges] ?? OutlierBoard()
      }
    }
    outlierBoards = boards
  }

  public func buckets(of limit: RateLimit) -> TokenBuckets? { buckets[limit] }

  /// Shared by all who judge this port's endpoints of that family by these settings; nil: no policy has them.
  public func outlierBoard(of detection: OutlierDetection, family: IPAddress.Family) -> OutlierBoard? {
    outlierBoards[OutlierJudges(detection: detection, family: family)]
  }

  /// Whether clients meet different policies.
  public var distinguishesClients: Bool { policies.contains { !$0.clients.isEmpty } }

  /// The policies that hold for a client's requests by a route, folded into one: each setting comes from the most
  /// specific policy that says it. A route's policy goes before a port's, that before a Service's; of each, one that
  /// names the client before one for all; of equals the oldest.
  public func policy(client: SPIFFEID?, routeID: String?) -> EffectivePolicy {
    EffectivePolicy(Self.ranked(policies, service, port, client: client, routeID: routeID))
  }

  private static func ranked(
    _ policies: [TrafficPolicy], _ service: ServiceKey, _ port: UInt16, client: SPIFFEID?, routeID: String?
  ) -> [TrafficPolicy] {
    var ranked: [(rank: Int, policy: TrafficPolicy)] = []
    for policy in policies {
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
  var family: IPAddress.Family
}

extension TrafficPolicy {
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

/// The settings that hold, with the defaults filled in.
public final class EffectivePolicy: Sendable {
  /// An idle timeout that was turned off.
  private static let never: NanoTime = .seconds(10 * 365 * 86_400)

  /// 0: none.
  public let requestTimeout: NanoTime
  public let perTryTimeout: NanoTime
  public let idleTimeout: NanoTime
  public let connectTimeout: NanoTime
  public let loadBalancer: LoadBalancer
  public let retry: RetryPolicy?
  public let retryBudget: RetryBudget
  public let hedging: Hedging?
  public let circuitBreaker: CircuitBreaker
  public let outlierDetection: OutlierDetection?
  public let rateLimits: [RateLimit]
  public let adaptiveConcurrency: AdaptiveConcurrency?
  public let faults: [Fault]
  public let locality: Locality?
  public let sessionPersistence: SessionPersistence?
  public let headers: HeaderOptions

  /// - Parameter policies: the most specific first.
  public init(_ policies: [TrafficPolicy] = []) {
    func first<Value>(_ value: (TrafficPolicy) -> Value?) -> Value? {
      for policy in policies { if let found = value(policy) { return found } }
      return nil
    }
    func time(_ milliseconds: UInt32?, default seconds: UInt64) -> NanoTime {
      milliseconds.map { .milliseconds(UInt64($0)) } ?? .seconds(seconds)
    }
    requestTimeout = time(first { $0.timeouts.request }, default: 0)
    perTryTimeout = time(first { $0.timeouts.perTry }, default: 0)
    let idle = time(first { $0.timeouts.idle }, default: 3600)
    idleTimeout = idle == 0 ? Self.never : idle
    let connect = time(first { $0.timeouts.connect }, default: 5)
    // An attempt without an end would hold its request for ever.
    connectTimeout = connect == 0 ? .seconds(5) : connect
    loadBalancer = first { $0.loadBalancer } ?? LoadBalancer()
    retry = first { $0.retry }
    retryBudget = first { $0.retryBudget } ?? RetryBudget()
    hedging = first { $0.hedging }
    circuitBreaker = first { $0.circuitBreaker } ?? CircuitBreaker()
    outlierDetection = first { $0.outlierDetection }
    rateLimits = first { $0.rateLimits.isEmpty ? nil : $0.rateLimits } ?? []
    adaptiveConcurrency = first { $0.adaptiveConcurrency }
    faults = first { $0.faults.isEmpty ? nil : $0.faults } ?? []
    locality = first { $0.locality }
    sessionPersistence = first { $0.sessionPersistence }
    headers = first { $0.headers == HeaderOptions() ? nil : $0.headers } ?? HeaderOptions()
  }
}
