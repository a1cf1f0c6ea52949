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
  private var plans: [ObjectIdentifier: RulePlan] = [:]
  /// Where no route says otherwise.
  private(set) lazy var policy = traffic.policy(client: identity, routeID: nil)
  private lazy var direct = RulePlan(rule: nil, policy: policy, view: key, identity: identity)

  init(key: Key, traffic: PortTraffic, identity: SPIFFEID?) {
    self.key = key
    self.traffic = traffic
    self.identity = identity
    group = traffic.routes.group(clientNamespace: identity?.namespace ?? "")
  }

  /// - Parameter rule: nil: no routes hold.
  func plan(for rule: CompiledRule?) -> RulePlan {
    guard let rule else { return direct }
    if let known = plans[ObjectIdentifier(rule)] { return known }
    let plan = RulePlan(
      rule: rule, policy: traffic.policy(client: identity, routeID: rule.routeID), view: key, identity: identity)
    plans[ObjectIdentifier(rule)] = plan
    return plan
  }
}

extension Worker {
  /// nil: the Service or its port is gone.
  func view(of client: HTTPClient) -> ServiceView? {
    guard let traffic = snapshot.traffic(of: client.service, port: client.port) else { return nil }
    let key = ServiceView.Key(
      workload: client.workload, service: client.service, port: client.port, family: client.family)
    if let known = views[key], known.traffic === traffic, known.identity == client.identity { return known }
    let view = ServiceView(key: key, traffic: traffic, identity: client.identity)
    views[key] = view
    return view
  }
}
