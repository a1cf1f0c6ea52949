import MeshModel

/// Routes and policies, compiled as far as a change touches them.
struct TrafficCompiler: Sendable {
  private(set) var routes: [String: Route] = [:]
  private(set) var policies: [String: TrafficPolicy] = [:]
  /// Of every route and policy that refers to Services.
  private(set) var statuses: [ObjectKey: [ParentStatus]] = [:]
  private var store = TrafficStore()
  private var dirtyRoutes: Set<ObjectKey> = []
  private var dirtyPolicies: Set<ObjectName> = []

  // MARK: What a change touches

  mutating func set(route new: RouteObject?, _ key: ObjectKey) {
    let old = store.routes[key]
    guard old != new else { return }
    touchRivals(of: old)
    store.set(route: new, key)
    touchRivals(of: new)
    dirtyRoutes.insert(key)
    if (old == nil) != (new == nil) { dirtyPolicies.formUnion(store.policiesByTarget[.route(key.routeID)] ?? []) }
  }

  /// HTTPRoutes, and GRPCRoutes, leave each other alone; of other or several kinds, who wins may turn for all.
  private mutating func touchRivals(of route: RouteObject?) {
    for service in Set((route?.parents ?? []).map(\.service)) {
      let rivals = store.routesByParent[service] ?? []
      if RouteConflicts.arePossible(among: rivals) { dirtyRoutes.formUnion(rivals) }
    }
  }

  mutating func set(grant new: ReferenceGrantObject?, _ name: ObjectName) {
    let old = store.grant(name)
    guard old != new else { return }
    store.set(grant: new, name)
    let namespaces = Set(((old?.from ?? []) + (new?.from ?? [])).map(\.namespace))
    for key in store.routesIntoNamespace[name.namespace] ?? [] where namespaces.contains(key.name.namespace) {
      dirtyRoutes.insert(key)
    }
  }

  mutating func set(policy new: TrafficPolicyObject?, _ name: ObjectName) {
    guard store.policies[name] != new else { return }
    touchRivals(of: store.policies[name])
    store.set(policy: new, name)
    touchRivals(of: new)
    dirtyPolicies.insert(name)
  }

  private mutating func touchRivals(of policy: TrafficPolicyObject?) {
    for target in policy?.targets ?? [] { dirtyPolicies.formUnion(store.policiesByTarget[target.kind] ?? []) }
  }

  /// The Service came, went, or has other ports or another affinity.
  mutating func touch(service name: ObjectName) {
    for key in store.routesByService[name] ?? [] {
      dirtyRoutes.insert(key)
      // Whether it may hold at all can depend on a backend: then others win or lose.
      touchRivals(of: store.routes[key])
    }
    dirtyPolicies.formUnion(store.policiesByTarget[.service(name.key)] ?? [])
  }

  // MARK: Results

  mutating func compile(
    _ services: [ObjectName: ServiceObject], _ delta: inout MeshDelta, _ work: inout MeshCompiler.Work
  ) {
    guard !dirtyRoutes.isEmpty || !dirtyPolicies.isEmpty else { return }
    compileRoutes(RouteCompiler(services: services, traffic: store), &delta)
    compilePolicies(PolicyCompiler(services: services, traffic: store), &delta)
    work.routes += dirtyRoutes.count
    work.policies += dirtyPolicies.count
    dirtyRoutes = []
    dirtyPolicies = []
  }

  private mutating func compileRoutes(_ compiler: RouteCompiler, _ delta: inout MeshDelta) {
    var verdicts: [ObjectName: RouteConflicts.Verdicts] = [:]
    for key in dirtyRoutes {
      var result = RouteCompiler.Result(route: nil, statuses: [])
      if let object = store.routes[key] {
        var own: [Int: RouteConflicts.Verdict] = [:]
        for service in Set(object.parents.map(\.service)) {
          if verdicts[service] == nil { verdicts[service] = RouteConflicts.verdicts(at: service, compiler) }
          own.merge(verdicts[service]?[key] ?? [:]) { first, _ in first }
        }
        result = compiler.compile(key, object, own)
      }
      statuses[key] = result.statuses.isEmpty ? nil : result.statuses
      let id = key.routeID
      guard routes[id] != result.route else { continue }
      routes[id] = result.route
      if let route = result.route { delta.routes[id] = route } else { delta.removedRoutes.insert(id) }
    }
  }

  private mutating func compilePolicies(_ compiler: PolicyCompiler, _ delta: inout MeshDelta) {
    var losses: [TrafficPolicy.Target.Kind: [ObjectName: [Int: Finding]]] = [:]
    for name in dirtyPolicies {
      var result = PolicyCompiler.Result(policy: nil, statuses: [])
      if let object = store.policies[name] {
        var own: [Int: Finding] = [:]
        for kind in Set(object.targets.map(\.kind)) {
          if losses[kind] == nil { losses[kind] = compiler.losses(at: kind) }
          own.merge(losses[kind]?[name] ?? [:]) { first, _ in first }
        }
        result = compiler.compile(object, losses: own)
      }
      statuses[ObjectKey(kind: .trafficPolicy, name: name)] = result.statuses.isEmpty ? nil : result.statuses
      let id = name.description
      guard policies[id] != result.policy else { continue }
      policies[id] = result.policy
      if let policy = result.policy { delta.policies[id] = policy } else { delta.removedPolicies.insert(id) }
    }
  }
}

extension ObjectKey {
  /// As `Route.id` has it.
  var routeID: String { "\(kind.rawValue)/\(name.namespace)/\(name.name)" }
}
