import MeshModel
import Testing

@testable import ControlPlane

/// Random Services, routes, grants and policies out of few names, so that they meet often.
private struct TrafficWorld {
  var random: SeededGenerator
  var objects: [ObjectKey: MeshObject] = [:]

  private mutating func pick<Element>(_ elements: [Element]) -> Element { elements.randomElement(using: &random)! }

  mutating func change() -> ObjectChange {
    let kind = pick([
      Kind.service, .httpRoute, .httpRoute, .grpcRoute, .tcpRoute, .tlsRoute, .referenceGrant, .trafficPolicy,
      .trafficPolicy,
    ])
    let key = ObjectKey(kind: kind, name: ObjectName(pick(["a", "b"]), pick(["p", "q", "r"])))
    let object = Int.random(in: 0..<4, using: &random) == 0 ? nil : make(key)
    objects[key] = object
    return ObjectChange(key: key, object: object)
  }

  private mutating func make(_ key: ObjectKey) -> MeshObject {
    switch key.kind {
    case .service:
      let ports: [ServiceObject.Port] = [80, 81].prefix(pick([1, 2])).map {
        .init(port: $0, name: "p\($0)", target: .number($0))
      }
      return .service(
        ServiceObject(
          isExternalName: pick([true, false, false, false]), ports: ports,
          hasClientAffinity: pick([true, false, false])))
    case .referenceGrant:
      return .referenceGrant(
        ReferenceGrantObject(
          from: [.init(group: GatewayAPI.group, kind: pick(["HTTPRoute", "TCPRoute"]), namespace: pick(["a", "b"]))],
          to: [.init(group: "", kind: "Service", name: pick(["", "p", "q"]))]))
    case .trafficPolicy:
      let kind = pick([
        TrafficPolicy.Target.Kind.service(serviceKey()), .service(serviceKey()), .route("HTTPRoute/a/p"),
      ])
      let section = pick(["", "", "p81"])
      return .trafficPolicy(
        TrafficPolicyObject(
          policy: TrafficPolicy(
            namespace: key.name.namespace, name: key.name.name, created: pick([1, 2, 3]), targets: [],
            clients: pick([[], ["x"], ["x", "y"], ["y"]])),
          targets: [
            .init(kind: kind, sectionName: section), .init(kind: .service(serviceKey()), port: pick([nil, 80])),
          ]))
    default:
      let parents = (0..<pick([1, 2])).map { _ in
        let service = serviceKey()
        return RouteObject.Parent(namespace: service.namespace, name: service.name, port: pick([nil, nil, 80, 81]))
      }
      let filters = pick([[], [RouteFilter.mirror(Mirror(service: serviceKey(), port: 80))]])
      return .route(
        RouteObject(
          kind: key.kind.route!, created: pick([1, 2, 3]), parents: parents,
          hostnames: pick([[], ["x.com"], ["*.com"], ["y.org"]]),
          rules: [
            RouteRule(
              filters: filters, backends: [.init(service: serviceKey(), port: pick([80, 81]))],
              sessionPersistence: pick([nil, nil, SessionPersistence(name: "s")]))
          ]))
    }
  }

  private mutating func serviceKey() -> ServiceKey { ServiceKey(namespace: pick(["a", "b"]), name: pick(["p", "q"])) }
}

@Suite struct IncrementalTrafficTests {
  /// After every batch, what the deltas add up to is what a compiler that sees only the end state makes.
  @Test(arguments: 1...30) func incrementalEqualsFull(_ seed: UInt64) {
    var world = TrafficWorld(random: SeededGenerator(state: seed))
    var compiler = MeshCompiler(config: MeshConfig())
    var routes: [String: Route] = [:]
    var policies: [String: TrafficPolicy] = [:]
    for step in 0..<120 {
      let count = Int.random(in: 1...3, using: &world.random)
      let delta = compiler.apply((0..<count).map { _ in world.change() })
      for id in delta.removedRoutes { #expect(routes.removeValue(forKey: id) != nil) }
      for (id, route) in delta.routes { #expect(routes.updateValue(route, forKey: id) != route && route.id == id) }
      for id in delta.removedPolicies { #expect(policies.removeValue(forKey: id) != nil) }
      for (id, policy) in delta.policies { #expect(policies.updateValue(policy, forKey: id) != policy) }

      var full = MeshCompiler(config: MeshConfig())
      _ = full.apply(world.objects.map { ObjectChange(key: $0, object: $1) })
      let isSame =
        routes == full.traffic.routes && policies == full.traffic.policies
        && compiler.traffic.statuses == full.traffic.statuses
      #expect(isSame, "seed \(seed), step \(step)")
      guard isSame else { return }
    }
  }

  /// 1,000 Services with a route and a policy each: one change compiles what names it.
  @Test func oneChangeCostsWhatItTouches() {
    func service(_ ports: UInt16...) -> MeshObject {
      .service(ServiceObject(ports: ports.map { .init(port: $0, name: "p\($0)", target: .number($0)) }))
    }
    var changes: [ObjectChange] = []
    for index in 0..<1000 {
      let key = ServiceKey(namespace: "ns", name: "s\(index)")
      let backend = ServiceKey(namespace: "far", name: "s\(index % 10)")
      changes.append(.set(.service, "ns", key.name, service(80)))
      changes.append(.set(.service, "far", backend.name, service(80)))
      changes.append(
        .set(
          .httpRoute, "ns", "r\(index)",
          .route(
            RouteObject(
              kind: .http, parents: [.init(namespace: "ns", name: key.name)],
              rules: [RouteRule(backends: [.init(service: index < 100 ? backend : key, port: 80)])]))))
      changes.append(
        .set(
          .trafficPolicy, "ns", "p\(index)",
          .trafficPolicy(
            .init(
              policy: TrafficPolicy(namespace: "ns", name: "p\(index)", targets: []),
              targets: [.init(kind: .service(key))]))))
    }
    var compiler = MeshCompiler(config: MeshConfig())
    let all = compiler.apply(changes)
    #expect(all.routes.count == 1000 && all.policies.count == 1000)

    func cost(_ change: ObjectChange) -> [Int] {
      let before = compiler.work
      _ = compiler.apply([change])
      return [compiler.work.routes - before.routes, compiler.work.policies - before.policies]
    }
    #expect(cost(.set(.service, "ns", "s500", service(80, 81))) == [1, 1])
    #expect(cost(.set(.service, "far", "s3", service(81))) == [10, 0])
    #expect(cost(.remove(.httpRoute, "ns", "r7")) == [1, 0])
    #expect(cost(.remove(.trafficPolicy, "ns", "p7")) == [0, 1])
    let grant = ReferenceGrantObject(
      from: [.init(group: GatewayAPI.group, kind: "HTTPRoute", namespace: "ns")],
      to: [.init(group: "", kind: "Service")])
    #expect(cost(.set(.referenceGrant, "far", "g", .referenceGrant(grant))) == [99, 0])
    #expect(cost(.set(.referenceGrant, "ns", "g", .referenceGrant(grant))) == [0, 0])
    let pod = PodObject(labels: ["a": "b"], node: "n", addresses: [IPAddress("10.0.0.1")!])
    #expect(cost(.set(.pod, "ns", "x", .pod(pod))) == [0, 0])
  }
}
