import MeshModel

/// The routes, grants and policies in force, and by which names a change finds those that it touches.
struct TrafficStore: Sendable {
  private(set) var routes: [ObjectKey: RouteObject] = [:]
  private(set) var policies: [ObjectName: TrafficPolicyObject] = [:]
  private var grants: [String: [String: ReferenceGrantObject]] = [:]

  /// Routes that name the Service, as a parent, a backend or a mirror.
  private(set) var routesByService: [ObjectName: Set<ObjectKey>] = [:]
  /// Routes of which the Service is a parent.
  private(set) var routesByParent: [ObjectName: Set<ObjectKey>] = [:]
  /// By the namespace that a route refers into from another.
  private(set) var routesIntoNamespace: [String: Set<ObjectKey>] = [:]
  private(set) var policiesByTarget: [TrafficPolicy.Target.Kind: Set<ObjectName>] = [:]

  func isPermitted(_ kind: Route.Kind, from namespace: String, to service: ObjectName) -> Bool {
    grants[service.namespace]?.values.contains { $0.permits(kind, from: namespace, toService: service.name) } == true
  }

  func grant(_ name: ObjectName) -> ReferenceGrantObject? { grants[name.namespace]?[name.name] }

  func hasRoute(_ id: String) -> Bool {
    let parts = id.split(separator: "/").map(String.init)
    guard parts.count == 3, let kind = Kind(rawValue: parts[0]) else { return false }
    return routes[ObjectKey(kind: kind, name: ObjectName(parts[1], parts[2]))] != nil
  }

  mutating func set(route new: RouteObject?, _ key: ObjectKey) {
    if let old = routes[key] {
      for name in old.namedServices { routesByService.remove(key, under: name) }
      for parent in old.parents { routesByParent.remove(key, under: parent.service) }
      for namespace in old.namespaces(from: key.name.namespace) { routesIntoNamespace.remove(key, under: namespace) }
    }
    routes[key] = new
    guard let new else { return }
    for name in new.namedServices { routesByService[name, default: []].insert(key) }
    for parent in new.parents { routesByParent[parent.service, default: []].insert(key) }
    for namespace in new.namespaces(from: key.name.namespace) {
      routesIntoNamespace[namespace, default: []].insert(key)
    }
  }

  mutating func set(grant new: ReferenceGrantObject?, _ name: ObjectName) {
    grants[name.namespace, default: [:]][name.name] = new
    if grants[name.namespace]?.isEmpty == true { grants[name.namespace] = nil }
  }

  mutating func set(policy new: TrafficPolicyObject?, _ name: ObjectName) {
    for target in policies[name]?.targets ?? [] { policiesByTarget.remove(name, under: target.kind) }
    policies[name] = new
    for target in new?.targets ?? [] { policiesByTarget[target.kind, default: []].insert(name) }
  }
}

extension RouteObject {
  /// The Services that it names.
  var namedServices: Set<ObjectName> { Set(parents.map(\.service)).union(destinations) }

  /// Other namespaces than its own that it sends requests into.
  func namespaces(from namespace: String) -> Set<String> {
    Set(destinations.map(\.namespace)).subtracting([namespace])
  }

  private var destinations: Set<ObjectName> {
    var names: Set<ObjectName> = []
    func take(_ filters: [RouteFilter]) {
      for case .mirror(let mirror) in filters {
        names.insert(ObjectName(mirror.service.namespace, mirror.service.name))
      }
    }
    for rule in rules {
      take(rule.filters)
      for backend in rule.backends {
        names.insert(ObjectName(backend.service.namespace, backend.service.name))
        take(backend.filters)
      }
    }
    return names
  }
}
