import MeshModel
import Testing

@testable import ControlPlane

private func service(_ ports: UInt16...) -> MeshObject {
  .service(ServiceObject(ports: ports.map { .init(port: $0, name: "p\($0)", target: .number($0)) }))
}

private func route(
  _ kind: Route.Kind = .http, to parents: [RouteObject.Parent], hostnames: [String] = [], backend: String = "shop/v1",
  port: UInt16 = 80, created: Int64 = 0
) -> MeshObject {
  .route(
    RouteObject(
      kind: kind, created: created, parents: parents, hostnames: hostnames,
      rules: [RouteRule(matches: [RouteMatch()], backends: [.init(service: ServiceKey(backend)!, port: port)])]))
}

private func policy(
  _ name: String, created: Int64 = 0, clients: [String] = [], port: UInt16? = nil, section: String = "",
  route: String? = nil
) -> MeshObject {
  let kind = route.map(TrafficPolicy.Target.Kind.route) ?? .service(ServiceKey("shop/cart")!)
  return .trafficPolicy(
    TrafficPolicyObject(
      policy: TrafficPolicy(namespace: "shop", name: name, created: created, targets: [], clients: clients),
      targets: [.init(kind: kind, port: port, sectionName: section)]))
}

private func grant(_ kind: String = "HTTPRoute", from namespace: String, to name: String = "") -> MeshObject {
  .referenceGrant(
    ReferenceGrantObject(
      from: [.init(group: GatewayAPI.group, kind: kind, namespace: namespace)],
      to: [.init(group: "", kind: "Service", name: name)]))
}

private let cart = RouteObject.Parent(namespace: "shop", name: "cart")

extension MeshCompiler {
  /// `Accepted True Accepted` and so on, of each parent.
  fileprivate func conditions(_ kind: Kind, _ namespace: String, _ name: String) -> [[String]] {
    (traffic.statuses[ObjectKey(kind: kind, name: ObjectName(namespace, name))] ?? []).map { parent in
      parent.conditions.map { "\($0.type) \($0.status) \($0.reason)" }
    }
  }

  fileprivate func messages(_ kind: Kind, _ namespace: String, _ name: String) -> [String] {
    (traffic.statuses[ObjectKey(kind: kind, name: ObjectName(namespace, name))] ?? []).flatMap(\.conditions)
      .map(\.message).filter { !$0.isEmpty }
  }
}

private let accepted = ["Accepted True Accepted", "ResolvedRefs True ResolvedRefs"]

private func compiler(_ changes: ObjectChange...) -> MeshCompiler {
  var compiler = MeshCompiler(config: MeshConfig())
  _ = compiler.apply(changes)
  return compiler
}

@Suite struct RouteCompilerTests {
  @Test func aRouteBecomesAResource() {
    let compiler = compiler(
      .set(.service, "shop", "cart", service(80, 81)), .set(.service, "shop", "v1", service(80)),
      .set(
        .httpRoute, "shop", "r",
        route(
          to: [cart, .init(namespace: "shop", name: "cart", sectionName: "p81")], hostnames: ["a.b"], created: 7)))
    #expect(
      compiler.traffic.routes == [
        "HTTPRoute/shop/r": Route(
          namespace: "shop", name: "r", created: 7,
          parents: [
            .init(service: ServiceKey("shop/cart")!), .init(service: ServiceKey("shop/cart")!, port: 81),
          ], hostnames: ["a.b"],
          rules: [
            RouteRule(matches: [RouteMatch()], backends: [.init(service: ServiceKey("shop/v1")!, port: 80)])
          ])
      ])
    #expect(compiler.conditions(.httpRoute, "shop", "r") == [accepted, accepted])
  }

  @Test func parentsThatAreMissing() {
    var compiler = compiler(
      .set(.service, "shop", "v1", service(80)),
      .set(.httpRoute, "shop", "r", route(to: [cart, .init(namespace: "shop", name: "v1", port: 9)])))
    #expect(compiler.traffic.routes.isEmpty)
    #expect(
      compiler.conditions(.httpRoute, "shop", "r").map(\.first) == [
        "Accepted False NoMatchingParent", "Accepted False NoMatchingParent",
      ])
    #expect(
      compiler.messages(.httpRoute, "shop", "r") == [
        "there is no Service shop/cart", "the Service shop/v1 has no TCP port 9",
      ])
    let delta = compiler.apply([.set(.service, "shop", "cart", service(80))])
    #expect(delta.routes["HTTPRoute/shop/r"]?.parents == [.init(service: ServiceKey("shop/cart")!)])
    #expect(compiler.conditions(.httpRoute, "shop", "r")[0] == accepted)
    #expect(compiler.apply([.remove(.service, "shop", "cart")]).removedRoutes == ["HTTPRoute/shop/r"])
  }

  @Test func backendsThatAreMissing() {
    var compiler = compiler(
      .set(.service, "shop", "cart", service(80)), .set(.httpRoute, "shop", "r", route(to: [cart], port: 81)))
    #expect(
      compiler.conditions(.httpRoute, "shop", "r") == [
        ["Accepted True Accepted", "ResolvedRefs False BackendNotFound"]
      ])
    func invalid() -> String? { compiler.traffic.routes["HTTPRoute/shop/r"]?.rules[0].backends[0].invalid }
    #expect(invalid() == "BackendNotFound: there is no Service shop/v1")
    _ = compiler.apply([.set(.service, "shop", "v1", service(80))])
    #expect(invalid() == "BackendNotFound: the Service shop/v1 has no TCP port 81")
    _ = compiler.apply([.set(.service, "shop", "v1", service(80, 81))])
    #expect(invalid() == "" && compiler.conditions(.httpRoute, "shop", "r") == [accepted])
  }

  @Test func otherNamespacesNeedAGrant() {
    var compiler = compiler(
      .set(.service, "shop", "cart", service(80)), .set(.service, "far", "v1", service(80)),
      .set(.httpRoute, "shop", "r", route(to: [cart], backend: "far/v1")))
    func resolved() -> String { compiler.conditions(.httpRoute, "shop", "r")[0][1] }
    let refused = "ResolvedRefs False RefNotPermitted"
    #expect(resolved() == refused)
    for wrong in [grant(from: "other"), grant("GRPCRoute", from: "shop"), grant(from: "shop", to: "v2")] {
      _ = compiler.apply([.set(.referenceGrant, "far", "g", wrong)])
      #expect(resolved() == refused)
    }
    _ = compiler.apply([.set(.referenceGrant, "shop", "g", grant(from: "shop"))])
    #expect(resolved() == refused, "a grant holds for its own namespace")
    let delta = compiler.apply([.set(.referenceGrant, "far", "g", grant(from: "shop", to: "v1"))])
    #expect(delta.routes["HTTPRoute/shop/r"]?.rules[0].backends[0].invalid == "")
    #expect(resolved() == "ResolvedRefs True ResolvedRefs")
    let gone = compiler.apply([.remove(.referenceGrant, "far", "g")])
    #expect(gone.routes["HTTPRoute/shop/r"]?.rules[0].backends[0].invalid.hasPrefix("RefNotPermitted: ") == true)
  }

  @Test func aConsumerRouteMaySendToItsParent() {
    let compiler = compiler(
      .set(.service, "shop", "cart", service(80)),
      .set(.httpRoute, "web", "r", route(to: [cart], backend: "shop/cart")))
    #expect(compiler.conditions(.httpRoute, "web", "r") == [accepted])
    let route = compiler.traffic.routes["HTTPRoute/web/r"]
    #expect(route.map { $0.isConsumer(of: $0.parents[0]) } == true)
  }

  @Test func mirrorsAreResolvedToo() {
    var object = RouteObject(kind: .http, parents: [cart])
    object.rules = [RouteRule(filters: [.mirror(Mirror(service: ServiceKey("shop/none")!, port: 80))])]
    let compiler = compiler(
      .set(.service, "shop", "cart", service(80)), .set(.httpRoute, "shop", "r", .route(object)))
    guard case .mirror(let mirror)? = compiler.traffic.routes["HTTPRoute/shop/r"]?.rules[0].filters.first else {
      return #expect(Bool(false), "no mirror")
    }
    #expect(mirror.invalid == "BackendNotFound: there is no Service shop/none")
  }

  @Test func aRejectedRouteIsNotDistributed() {
    var object = RouteObject(kind: .http, parents: [cart])
    object.rejection = Finding("UnsupportedValue", "no")
    let compiler = compiler(
      .set(.service, "shop", "cart", service(80)), .set(.httpRoute, "shop", "r", .route(object)))
    #expect(compiler.traffic.routes.isEmpty)
    #expect(compiler.conditions(.httpRoute, "shop", "r")[0][0] == "Accepted False UnsupportedValue")
  }
}

@Suite struct RouteConflictTests {
  private let base: [ObjectChange] = [
    .set(.service, "shop", "cart", service(80, 81)), .set(.service, "shop", "v1", service(80)),
  ]

  private func compiler(_ changes: ObjectChange...) -> MeshCompiler {
    var compiler = MeshCompiler(config: MeshConfig())
    _ = compiler.apply(base + changes)
    return compiler
  }

  @Test func theOldestOfTwoKindsWins() {
    var compiler = compiler(
      .set(.httpRoute, "shop", "h", route(to: [cart], created: 2)),
      .set(.grpcRoute, "shop", "g", route(.grpc, to: [cart], created: 1)))
    #expect(Set(compiler.traffic.routes.keys) == ["GRPCRoute/shop/g"])
    #expect(compiler.conditions(.httpRoute, "shop", "h")[0][0] == "Accepted False Conflicted")
    #expect(
      compiler.messages(.httpRoute, "shop", "h") == [
        "GRPCRoute shop/g, which is older, already routes the Service shop/cart"
      ])
    let delta = compiler.apply([.remove(.grpcRoute, "shop", "g")])
    #expect(delta.removedRoutes == ["GRPCRoute/shop/g"] && Set(delta.routes.keys) == ["HTTPRoute/shop/h"])
    #expect(compiler.conditions(.httpRoute, "shop", "h") == [accepted])
  }

  @Test func whoHasLostStandsInNobodysWay() {
    var compiler = compiler(
      .set(.httpRoute, "shop", "a", route(to: [cart], created: 1)),
      .set(.grpcRoute, "shop", "b", route(.grpc, to: [cart], created: 2)),
      .set(.httpRoute, "shop", "c", route(to: [cart], created: 3)))
    #expect(Set(compiler.traffic.routes.keys) == ["HTTPRoute/shop/a", "HTTPRoute/shop/c"])
    _ = compiler.apply([.remove(.httpRoute, "shop", "a")])
    #expect(Set(compiler.traffic.routes.keys) == ["GRPCRoute/shop/b"])
  }

  @Test(arguments: [
    (["a.com"], ["b.com"], false), (["a.com"], ["a.com"], true), ([], ["a.com"], true),
    (["*.a.com"], ["x.a.com"], true), (["*.a.com"], ["a.com"], false), (["x.a.com"], ["*.a.com"], true),
    (["*.a.com"], ["*.b.a.com"], true), (["*.a.com"], ["*.ba.com"], false), (["b.com", "a.com"], ["a.com"], true),
  ])
  func hostNames(_ left: [String], _ right: [String], _ overlap: Bool) {
    let compiler = compiler(
      .set(.httpRoute, "shop", "h", route(to: [cart], hostnames: left)),
      .set(.grpcRoute, "shop", "g", route(.grpc, to: [cart], hostnames: right)))
    #expect(compiler.traffic.routes.count == (overlap ? 1 : 2))
    #expect(compiler.traffic.routes["GRPCRoute/shop/g"] != nil, "equally old: the first by name")
  }

  @Test func portsApartAndKindsThatMix() {
    let port80 = RouteObject.Parent(namespace: "shop", name: "cart", port: 80)
    let port81 = RouteObject.Parent(namespace: "shop", name: "cart", port: 81)
    let apart = compiler(
      .set(.httpRoute, "shop", "h", route(to: [port80])), .set(.tcpRoute, "shop", "t", route(.tcp, to: [port81])))
    #expect(apart.traffic.routes.count == 2)
    let merged = compiler(
      .set(.httpRoute, "shop", "h", route(to: [cart])), .set(.httpRoute, "shop", "i", route(to: [cart])),
      .set(.tlsRoute, "shop", "t", route(.tls, to: [cart])))
    #expect(merged.traffic.routes.count == 3)
  }

  @Test func aTCPRouteTakesEverything() {
    let compiler = compiler(
      .set(.httpRoute, "shop", "h", route(to: [cart], hostnames: ["a.com"])),
      .set(.tcpRoute, "shop", "t", route(.tcp, to: [.init(namespace: "shop", name: "cart", port: 80), cart])),
      .set(.tcpRoute, "shop", "u", route(.tcp, to: [.init(namespace: "shop", name: "v1")])),
      .set(.tcpRoute, "shop", "v", route(.tcp, to: [.init(namespace: "shop", name: "v1")], created: -1)))
    #expect(Set(compiler.traffic.routes.keys) == ["HTTPRoute/shop/h", "TCPRoute/shop/v"])
    #expect(
      compiler.conditions(.tcpRoute, "shop", "t").map(\.first)
        == Array(repeating: "Accepted False Conflicted", count: 2))
    #expect(compiler.messages(.tcpRoute, "shop", "t")[0].hasSuffix("the port 80 of the Service shop/cart"))
  }

  @Test func consumersLeaveOthersAlone() {
    let compiler = compiler(
      .set(.httpRoute, "shop", "h", route(to: [cart])), .set(.tcpRoute, "web", "t", route(.tcp, to: [cart])),
      .set(.grpcRoute, "far", "g", route(.grpc, to: [cart])))
    #expect(compiler.traffic.routes.count == 3)
  }
}

@Suite struct PolicyCompilerTests {
  private func conditions(_ compiler: MeshCompiler, _ name: String) -> [[String]] {
    compiler.conditions(.trafficPolicy, "shop", name)
  }

  @Test func aPolicyBecomesAResource() {
    var compiler = compiler(.set(.trafficPolicy, "shop", "p", policy("p", section: "p80")))
    #expect(conditions(compiler, "p") == [["Accepted False TargetNotFound"]] && compiler.traffic.policies.isEmpty)
    let delta = compiler.apply([.set(.service, "shop", "cart", service(80))])
    #expect(delta.policies["shop/p"]?.targets == [.init(kind: .service(ServiceKey("shop/cart")!), port: 80)])
    #expect(conditions(compiler, "p") == [["Accepted True Accepted"]])
    #expect(compiler.apply([.remove(.trafficPolicy, "shop", "p")]).removedPolicies == ["shop/p"])
  }

  @Test func aRouteAsTarget() {
    var compiler = compiler(.set(.trafficPolicy, "shop", "p", policy("p", route: "HTTPRoute/shop/r")))
    #expect(conditions(compiler, "p") == [["Accepted False TargetNotFound"]])
    _ = compiler.apply([.set(.httpRoute, "shop", "r", route(to: [cart]))])
    #expect(compiler.traffic.policies["shop/p"]?.targets == [.init(kind: .route("HTTPRoute/shop/r"))])
    _ = compiler.apply([.remove(.httpRoute, "shop", "r")])
    #expect(compiler.traffic.policies.isEmpty)
  }

  @Test func theOldestOfTwoWins() {
    var compiler = compiler(
      .set(.service, "shop", "cart", service(80)),
      .set(.trafficPolicy, "shop", "a", policy("a", created: 2)),
      .set(.trafficPolicy, "shop", "b", policy("b", created: 1)),
      .set(.trafficPolicy, "shop", "c", policy("c", created: 3, clients: ["web"])),
      .set(.trafficPolicy, "shop", "d", policy("d", created: 4, clients: ["web", "far"])),
      .set(.trafficPolicy, "shop", "e", policy("e", created: 5, clients: ["far"])),
      .set(.trafficPolicy, "shop", "f", policy("f", created: 6, port: 80)))
    #expect(Set(compiler.traffic.policies.keys) == ["shop/b", "shop/c", "shop/e", "shop/f"])
    #expect(conditions(compiler, "a") == [["Accepted False Conflicted"]])
    #expect(
      compiler.messages(.trafficPolicy, "shop", "d") == [
        "the older TrafficPolicy shop/c already holds for this target and these clients"
      ])
    let delta = compiler.apply([.remove(.trafficPolicy, "shop", "b")])
    #expect(Set(delta.policies.keys) == ["shop/a"] && delta.removedPolicies == ["shop/b"])
  }
}
