import HashTreeCollections
import MeshModel

/// The routes and policies of the mesh by the Services that they concern. A change costs the Services that it touches.
struct TrafficIndex: Sendable {
  private var routes: TreeDictionary<String, Route> = [:]
  private var policies: TreeDictionary<String, TrafficPolicy> = [:]
  private var routesOfService: TreeDictionary<ServiceKey, TreeSet<String>> = [:]
  private var policiesOfService: TreeDictionary<ServiceKey, TreeSet<String>> = [:]
  private var policiesOfRoute: TreeDictionary<String, TreeSet<String>> = [:]
  private var ports: TreeDictionary<ServiceKey, [PortTraffic]> = [:]

  func port(_ port: UInt16, of service: ServiceKey) -> PortTraffic? { ports[service]?.first { $0.port == port } }

  /// In the order of their ids.
  var allRoutes: [Route] { routes.values.sorted { $0.id < $1.id } }
  var allPolicies: [TrafficPolicy] { policies.values.sorted { $0.id < $1.id } }

  /// - Parameters:
  ///   - changed: the Services that came, changed or went.
  ///   - before: what limits, budgets and buckets go on from, also where the update replaces everything: requests
  ///     under way hold them.
  ///   - service: as they are now.
  mutating func apply(
    _ update: MeshSnapshotUpdate, changed: Set<ServiceKey>, before: TrafficIndex, service: (ServiceKey) -> Service?
  ) {
    var touched = changed
    for id in update.removedRoutes { set(route: nil, id, &touched) }
    for route in update.routes { set(route: route, route.id, &touched) }
    for id in update.removedPolicies { set(policy: nil, id, &touched) }
    for policy in update.policies { set(policy: policy, policy.id, &touched) }
    for key in touched { rebuild(key, service(key), before: before, now: update.now) }
  }

  private mutating func set(route new: Route?, _ id: String, _ touched: inout Set<ServiceKey>) {
    for parent in routes[id]?.parents ?? [] {
      routesOfService.remove(id, under: parent.service)
      touched.insert(parent.service)
    }
    routes[id] = new
    for parent in new?.parents ?? [] {
      routesOfService[parent.service, default: []].insert(id)
      touched.insert(parent.service)
    }
  }

  private mutating func set(policy new: TrafficPolicy?, _ id: String, _ touched: inout Set<ServiceKey>) {
    for target in policies[id]?.targets ?? [] {
      switch target.kind {
      case .service(let key): policiesOfService.remove(id, under: key)
      case .route(let route): policiesOfRoute.remove(id, under: route)
      }
      touch(target, &touched)
    }
    policies[id] = new
    for target in new?.targets ?? [] {
      switch target.kind {
      case .service(let key): policiesOfService[key, default: []].insert(id)
      case .route(let route): policiesOfRoute[route, default: []].insert(id)
      }
      touch(target, &touched)
    }
  }

  private func touch(_ target: TrafficPolicy.Target, _ touched: inout Set<ServiceKey>) {
    switch target.kind {
    case .service(let key): touched.insert(key)
    case .route(let route): for parent in routes[route]?.parents ?? [] { touched.insert(parent.service) }
    }
  }

  private mutating func rebuild(_ key: ServiceKey, _ service: Service?, before: TrafficIndex, now: NanoTime) {
    guard let service else {
      ports[key] = nil
      return
    }
    let routes = (routesOfService[key] ?? []).compactMap { self.routes[$0] }
    var ids = policiesOfService[key] ?? []
    for route in routes { ids.formUnion(policiesOfRoute[route.id] ?? []) }
    var policies = ids.compactMap { self.policies[$0] }
    if service.hasClientAffinity { policies.append(TrafficPolicy.clientAffinity(of: key)) }
    ports[key] = service.ports.filter { $0.transport == .tcp }.map {
      PortTraffic(
        service: key, port: $0, routes: routes, policies: policies, previous: before.port($0.port, of: key),
        now: now)
    }
  }
}

extension TreeDictionary where Value == TreeSet<String> {
  fileprivate mutating func remove(_ id: String, under key: Key) {
    self[key]?.remove(id)
    if self[key]?.isEmpty == true { self[key] = nil }
  }
}
