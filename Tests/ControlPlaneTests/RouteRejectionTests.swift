import MeshModel
import Testing

@testable import ControlPlane

/// What the CRDs let pass and the proxy couldn't carry out: the route isn't accepted, and says why and where.
@Suite struct RouteRejectionTests {
  private static func edit(_ edit: String, of kind: String = "request") -> String {
    "{type: \(kind.capitalized)HeaderModifier, \(kind)HeaderModifier: {\(edit)}}"
  }

  private static func rewrite(_ path: String) -> String { "{type: URLRewrite, urlRewrite: {path: {\(path)}}}" }
  private static func cors(_ origin: String) -> String { "{type: CORS, cors: {allowOrigins: [\"\(origin)\"]}}" }

  private static let filters: [(String, String)] = [
    (edit("set: [{name: TE, value: a}]"), "requestHeaderModifier.set[0].name: the header TE is the proxy's own to set"),
    (edit("add: [{name: a, value: a}, {name: Upgrade, value: a}]"), "add[1].name: the header Upgrade is the proxy's"),
    (edit("remove: [connection]"), "remove[0]: the header connection is the proxy's own to set"),
    (
      edit("set: [{name: content-length, value: \"1\"}]", of: "response"),
      "responseHeaderModifier.set[0].name: the header"
    ),
    (cors("ftp://a.example"), "cors.allowOrigins[0]: \"ftp://a.example\" isn't an origin"),
    (cors("https://a.example:+80"), "isn't an origin"), (cors("https://a.example:000080"), "isn't an origin"),
    (rewrite("type: ReplaceFullPath, replaceFullPath: /a?b"), "urlRewrite.path.replaceFullPath: \"/a?b\" isn't a path"),
    (rewrite("type: ReplaceFullPath, replaceFullPath: \"/a#b\""), "\"/a#b\" isn't a path"),
    (rewrite("type: ReplaceFullPath, replaceFullPath: /é"), "\"/é\" isn't a path"),
    (rewrite("type: ReplacePrefixMatch, replacePrefixMatch: /a b"), "path.replacePrefixMatch: \"/a b\" isn't a path"),
    (
      "{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /a b}}}",
      "requestRedirect.path.replaceFullPath: \"/a b\" isn't a path"
    ),
  ]

  @Test(arguments: filters) func valuesThatTheProxyRefuses(_ filter: String, _ message: String) throws {
    for level in ["filters: [\(filter)]", "backendRefs: [{name: v1, port: 80, filters: [\(filter)]}]"] {
      // At a backend too, where the value comes before the kind of filter.
      let route = try decodeRoute(routeYAML("  rules:\n  - \(level)"))
      let rejection = try #require(route.rejection)
      #expect(rejection.reason == "UnsupportedValue" && rejection.message.hasPrefix("spec.rules[0]."))
      #expect(rejection.message.contains(message), "\(rejection)")
    }
  }

  @Test(arguments: [
    cors("*"), cors("http://a.example"), cors("https://*.A.example:8443"), cors("https://*"),
    rewrite("type: ReplaceFullPath, replaceFullPath: \"\""),
    rewrite("type: ReplacePrefixMatch, replacePrefixMatch: /%20"),
    edit("set: [{name: Host, value: a}], remove: [x-te]"),
  ])
  func valuesThatAreRight(_ filter: String) throws {
    #expect(try decodeRoute(routeYAML("  rules:\n  - filters: [\(filter)]")).rejection == nil)
  }

  // MARK: Backends

  private func backend(_ filters: String, under rule: String = "", kind: String = "HTTPRoute") throws -> Finding? {
    try decodeRoute(
      routeYAML(
        kind,
        "  rules:\n  - backendRefs: [{name: v1, port: 80}, {name: v2, port: 80, filters: [\(filters)]}]\n"
          + "    filters: [\(rule)]")
    ).rejection
  }

  @Test func aBackendCantAnswer() throws {
    #expect(
      try backend("{type: RequestRedirect, requestRedirect: {}}")
        == Finding(
          "UnsupportedValue",
          "spec.rules[0].backendRefs[1].filters[0].type: RequestRedirect is not supported on a backend: it answers "
            + "before one is chosen"))
    #expect(try backend(Self.cors("*"))?.message.contains("filters[0].type: CORS is not supported on a") == true)
  }

  @Test func whatABackendTakes() throws {
    let mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: copy, port: 80}}}"
    let prefix = Self.rewrite("type: ReplacePrefixMatch, replacePrefixMatch: /b")
    #expect(try backend("\(mirror), \(Self.edit("remove: [a]")), \(prefix)") == nil)
    #expect(try backend("\(mirror), \(Self.edit("remove: [a]"))", kind: "GRPCRoute") == nil)
    #expect(try backend(prefix, kind: "GRPCRoute")?.reason == "UnsupportedValue")
    // The rule's rewrite has taken away what the backend's would replace.
    let full = Self.rewrite("type: ReplaceFullPath, replaceFullPath: /a")
    #expect(try backend(prefix, under: full)?.reason == "IncompatibleFilters")
    #expect(try backend(full, under: prefix) == nil)
    #expect(try backend(prefix, under: "{type: URLRewrite, urlRewrite: {hostname: a.b}}") == nil)
  }

  // MARK: Affinity

  @Test func sessionsAndClientAffinityExcludeEachOther() throws {
    let yaml = """
      apiVersion: v1
      kind: Service
      metadata: {name: cart, namespace: shop}
      spec: {ports: [{port: 80}], sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}}
      """
    var cart = try decodeOne(yaml).object
    let route = MeshObject.route(
      try decodeRoute(routeYAML("  rules: [{backendRefs: [{name: v1, port: 80}], sessionPersistence: {}}]")))
    var compiler = MeshCompiler(config: MeshConfig())
    func accepted() -> ObjectCondition? {
      compiler.traffic.statuses[ObjectKey(kind: .httpRoute, name: ObjectName("shop", "r"))]?[0].conditions[0]
    }
    let plain = MeshObject.service(ServiceObject(ports: [.init(port: 80, target: .number(80))]))
    let delta = compiler.apply([
      .set(.service, "shop", "cart", cart), .set(.service, "shop", "v1", plain), .set(.httpRoute, "shop", "r", route),
    ])
    #expect(delta.services[ServiceKey("shop/cart")!]?.hasClientAffinity == true && delta.routes.isEmpty)
    #expect(accepted()?.reason == "UnsupportedValue")
    #expect(
      accepted()?.message
        == "spec.rules[0].sessionPersistence: the Service shop/cart has sessionAffinity: ClientIP, which excludes it")
    cart = try decodeOne(yaml.replacing("ClientIP,", with: "None,")).object
    #expect(compiler.apply([.set(.service, "shop", "cart", cart)]).routes.count == 1)
    #expect(accepted()?.status == "True")
    // Its backend's counts too.
    let bound = MeshObject.service(
      ServiceObject(ports: [.init(port: 80, target: .number(80))], hasClientAffinity: true))
    #expect(compiler.apply([.set(.service, "shop", "v1", bound)]).removedRoutes == ["HTTPRoute/shop/r"])
  }
}
