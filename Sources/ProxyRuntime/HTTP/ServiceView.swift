import MeshModel
import ProxyCore

/// What the requests of one workload to one Service's port meet: routes, policies, clusters. Made once and used until
/// the Service's routes or policies change.
final class ServiceView {
  struct Key: Hashable {
    var workload: String
    var service: ServiceKey
    var port: UInt16
    var family: IPAddress.Family
  }

  let traffic: PortTraffic
  /// nil: no route holds for this client; its requests go to the Service.
  let group: RouteGroup?
  let identity: SPIFFEID?
  private let key: Key
  private unowned let worker: Worker
  private var plans: [ObjectIdentifier: RulePlan] = [:]
  /// Where no route says otherwise.
  private(set) lazy var policy = traffic.policy(client: identity, routeID: nil)
  private lazy var direct = RulePlan(
    rule: nil, policy: policy,
    clusters: [worker.cluster(key.service, key.port, key.family, client: identity)], traffic: traffic)

  init(key: Key, traffic: PortTraffic, identity: SPIFFEID?, worker: Worker) {
    self.key = key
    self.traffic = traffic
    self.identity = identity
    self.worker = worker
    group = traffic.routes.group(clientNamespace: identity?.namespace ?? "")
  }

  /// - Parameter rule: nil: no routes hold.
  func plan(for rule: CompiledRule?) -> RulePlan {
    guard let rule else { return direct }
    if let known = plans[ObjectIdentifier(rule)] { return known }
    let plan = RulePlan(
      rule: rule, policy: traffic.policy(client: identity, routeID: rule.routeID),
      clusters: rule.rule.backends.map { backend in
        backend.invalid.isEmpty
          ? worker.cluster(backend.service, backend.port, key.family, client: identity) : nil
      }, traffic: traffic)
    plans[ObjectIdentifier(rule)] = plan
    return plan
  }
}

/// A rule as it is carried out.
final class RulePlan {
  let rule: CompiledRule?
  let policy: EffectivePolicy
  /// 0: none.
  let requestTimeout: NanoTime
  let perTryTimeout: NanoTime
  let retry: RetryPolicy?
  /// nil: requests have no sessions.
  let sessions: SessionKeeper?
  /// In the order of the rule's backends; nil where a backend is invalid.
  let clusters: [Cluster?]
  let faults: FaultInjector?
  /// Of the faults whose condition is one.
  let faultPatterns: [RegularExpression?]
  let rateLimits: [TokenBuckets]
  var hedger: Hedger?
  /// Of the route's id.
  let routeHash: UInt64

  init(rule: CompiledRule?, policy: EffectivePolicy, clusters: [Cluster?], traffic: PortTraffic) {
    self.rule = rule
    self.policy = policy
    self.clusters = clusters
    func time(_ own: UInt32?, _ policy: NanoTime) -> NanoTime {
      own.map { .milliseconds(UInt64($0)) } ?? policy
    }
    requestTimeout = time(rule?.rule.requestTimeout, policy.requestTimeout)
    perTryTimeout = time(rule?.rule.backendRequestTimeout, policy.perTryTimeout)
    hedger = policy.hedging.map { Hedger($0) }
    faultPatterns = policy.faults.map { fault in
      guard let header = fault.header, header.isRegularExpression else { return nil }
      return try? RegularExpression(header.value)
    }
    faults = policy.faults.isEmpty ? nil : FaultInjector(policy.faults)
    routeHash = Array((rule?.routeID ?? "").utf8).withUnsafeBytes { StableHash.hash($0) }
    rateLimits = policy.rateLimits.compactMap { traffic.buckets(of: $0) }
    retry = rule?.rule.retry ?? policy.retry
    // A rule's sessions are its own also where a policy says how (GEP-1619).
    sessions = (rule?.rule.sessionPersistence ?? policy.sessionPersistence).map {
      SessionKeeper($0, rule: rule, service: traffic.service, port: traffic.port)
    }
  }
}

extension Worker {
  /// nil: the Service or its port is gone.
  func view(of client: HTTPClient) -> ServiceView? {
    guard let traffic = snapshot.traffic(of: client.service, port: client.port) else { return nil }
    let key = ServiceView.Key(
      workload: client.workload, service: client.service, port: client.port, family: client.family)
    if let known = views[key], known.traffic === traffic, known.identity == client.identity { return known }
    let view = ServiceView(key: key, traffic: traffic, identity: client.identity, worker: self)
    views[key] = view
    return view
  }

  func cluster(_ service: ServiceKey, _ port: UInt16, _ family: IPAddress.Family, client: SPIFFEID?) -> Cluster {
    let traffic = snapshot.traffic(of: service, port: port)
    let key = Cluster.Key(
      service: service, port: port, family: family, client: traffic?.distinguishesClients == true ? client : nil)
    if let known = clusters[key] { return known }
    let cluster = Cluster(key: key, policy: traffic?.policy(client: client, routeID: nil) ?? EffectivePolicy())
    clusters[key] = cluster
    return cluster
  }
}
