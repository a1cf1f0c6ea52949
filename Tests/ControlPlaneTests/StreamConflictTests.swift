import MeshModel
import Testing

@testable import ControlPlane

/// TCPRoutes and TLSRoutes at one port.
@Suite struct StreamConflictTests {
  private func route(
    _ kind: Kind, _ name: String, _ hostnames: [String] = [], port: UInt16? = nil, created: Int64 = 0
  ) -> ObjectChange {
    .set(
      kind, "shop", name,
      .route(
        RouteObject(
          kind: kind.route!, created: created, parents: [.init(namespace: "shop", name: "cart", port: port)],
          hostnames: hostnames,
          rules: [RouteRule(backends: [.init(service: ServiceKey("shop/cart")!, port: 80)])])))
  }

  private func compiler(_ changes: ObjectChange...) -> MeshCompiler {
    var compiler = MeshCompiler(config: MeshConfig())
    let ports: [ServiceObject.Port] = [80, 81].map { .init(port: $0, name: "p\($0)", target: .number($0)) }
    _ = compiler.apply([.set(.service, "shop", "cart", .service(ServiceObject(ports: ports)))] + changes)
    return compiler
  }

  private func accepted(_ compiler: MeshCompiler, _ kind: Kind, _ name: String) -> String {
    let condition = compiler.traffic.statuses[ObjectKey(kind: kind, name: ObjectName("shop", name))]?[0].conditions[0]
    return condition.map { "\($0.status) \($0.reason) \($0.message)" } ?? "nothing"
  }

  @Test func ofTwoTLSRoutesWithOneNameTheOldestHolds() {
    var compiler = compiler(
      route(.tlsRoute, "new", ["a.com"], created: 2), route(.tlsRoute, "old", ["a.com", "b.com"], created: 1),
      route(.tlsRoute, "other", ["*.com"], created: 3))
    #expect(Set(compiler.traffic.routes.keys) == ["TLSRoute/shop/old", "TLSRoute/shop/other"])
    #expect(
      accepted(compiler, .tlsRoute, "new")
        == "False Conflicted TLSRoute shop/old, which is older, already routes the Service shop/cart")
    #expect(accepted(compiler, .tlsRoute, "other") == "True Accepted ")
    let delta = compiler.apply([.remove(.tlsRoute, "shop", "old")])
    #expect(Set(delta.routes.keys) == ["TLSRoute/shop/new"])
  }

  @Test func twoTLSRoutesWithoutNames() {
    let compiler = compiler(route(.tlsRoute, "b"), route(.tlsRoute, "a"), route(.tlsRoute, "c", ["a.com"]))
    #expect(Set(compiler.traffic.routes.keys) == ["TLSRoute/shop/a", "TLSRoute/shop/c"])
  }

  @Test func whatIsLeftOfATLSRouteHoldsAndItsStatusSaysWhatIsNot() {
    let names = compiler(
      route(.tlsRoute, "new", ["a.com", "c.com"], created: 2), route(.tlsRoute, "old", ["a.com"], created: 1))
    #expect(names.traffic.routes.count == 2)
    let rest = "TLSRoute shop/old, which is older, already routes a.com at the"
    #expect(accepted(names, .tlsRoute, "new") == "True Accepted \(rest) Service shop/cart")
    let status = names.traffic.statuses[ObjectKey(kind: .tlsRoute, name: ObjectName("shop", "new"))]?[0]
    #expect(status?.problems == ["Service shop/cart: Accepted: \(rest) Service shop/cart"])
    let ports = compiler(
      route(.tlsRoute, "new", ["a.com"], created: 2), route(.tlsRoute, "old", ["a.com"], port: 81, created: 1))
    #expect(ports.traffic.routes.count == 2)
    #expect(accepted(ports, .tlsRoute, "new") == "True Accepted \(rest) port 81 of the Service shop/cart")
    // Together they leave nothing.
    let none = compiler(
      route(.tlsRoute, "new", ["a.com", "c.com"], port: 81, created: 3),
      route(.tlsRoute, "old", ["a.com"], port: 81, created: 1), route(.tlsRoute, "older", ["c.com"]))
    #expect(Set(none.traffic.routes.keys) == ["TLSRoute/shop/old", "TLSRoute/shop/older"])
  }

  /// GEP-1294: of several kinds at one port TCPRoute comes last, whatever its age.
  @Test(arguments: [Kind.tlsRoute, .httpRoute, .grpcRoute]) func aTCPRouteGoesBehindOtherKinds(_ kind: Kind) {
    var compiler = compiler(route(.tcpRoute, "t", created: 1), route(kind, "o", ["a.com"], port: 80, created: 2))
    #expect(Set(compiler.traffic.routes.keys) == ["\(kind.rawValue)/shop/o"])
    #expect(
      accepted(compiler, .tcpRoute, "t")
        == "False Conflicted \(kind.rawValue) shop/o, which goes before any TCPRoute, already routes the port 80 of the "
        + "Service shop/cart")
    #expect(Set(compiler.apply([.remove(kind, "shop", "o")]).routes.keys) == ["TCPRoute/shop/t"])
  }
}
