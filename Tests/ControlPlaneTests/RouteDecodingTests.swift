import MeshModel
import Testing

@testable import ControlPlane

/// The one object of a file, or its complaint.
func decodeOne(_ yaml: String) throws -> (object: MeshObject, note: String) {
  let decoded = FileDecoder.decode(Array(yaml.utf8), file: "a.yaml")
  #expect(decoded.problems.map(\.description) == [])
  let entry = try #require(decoded.entries.first)
  guard decoded.entries.count == 1, case .object(_, let object, let note) = entry.outcome else {
    throw ControlPlaneError("not one object")
  }
  return (object, note)
}

func decodeRoute(_ yaml: String) throws -> RouteObject {
  guard case .route(let route) = try decodeOne(yaml).object else { throw ControlPlaneError("not a route") }
  return route
}

func routeYAML(_ spec: String) -> String { routeYAML("HTTPRoute", spec) }

func routeYAML(_ kind: String, _ spec: String) -> String {
  """
  apiVersion: gateway.networking.k8s.io/v1
  kind: \(kind)
  metadata: {name: r, namespace: shop, creationTimestamp: "2026-01-31T12:00:00Z"}
  spec:
    parentRefs: [{group: "", kind: Service, name: cart}]
  \(spec)

  """
}

@Suite struct RouteDecodingTests {
  private let v1 = ServiceKey("shop/v1")!

  @Test func everythingOfAnHTTPRoute() throws {
    let route = try decodeRoute(
      """
      apiVersion: gateway.networking.k8s.io/v1
      kind: HTTPRoute
      metadata: {name: r, namespace: shop, creationTimestamp: "2026-01-31T13:00:00.5+01:00"}
      spec:
        parentRefs:
        - {group: "", kind: Service, name: cart, port: 80}
        - {group: core, kind: Service, name: cart, namespace: other, sectionName: http}
        hostnames: [cart.example.com, "*.shop.example"]
        rules:
        - name: one
          matches:
          - path: {type: Exact, value: /a/}
            method: GET
          - path: {value: /b/}
            headers: [{name: X-User, value: tim}, {name: x-user, value: second}]
            queryParams: [{name: Page, value: "[0-9]+", type: RegularExpression}]
          - path: {type: RegularExpression, value: "/c/.*"}
          filters:
          - type: RequestHeaderModifier
            requestHeaderModifier: {set: [{name: A, value: "1"}], add: [{name: b, value: "2"}], remove: [c]}
          - {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [Server]}}
          - {type: RequestMirror, requestMirror: {backendRef: {name: v1, port: 80}, percent: 5}}
          - type: RequestMirror
            requestMirror: {backendRef: {name: v1, port: 80}, fraction: {numerator: 1, denominator: 3}}
          - type: CORS
            cors: {allowOrigins: ["https://*.example.com:8443", "*"], allowCredentials: true, allowMethods: [GET, "*"]}
          backendRefs:
          - {name: v1, port: 80, weight: 90}
          - {name: v1, namespace: far, port: 81, weight: 0, filters: [{type: URLRewrite, urlRewrite: {hostname: x.y}}]}
          timeouts: {request: 10s, backendRequest: 1s500ms}
          retry: {codes: [500, 503], attempts: 3, backoff: 100ms}
          sessionPersistence: {sessionName: s, absoluteTimeout: 2h, cookieConfig: {lifetimeType: Permanent}}
        - filters:
          - type: RequestRedirect
            requestRedirect:
              {scheme: https, hostname: a.b, port: 8443, statusCode: 308, path: {type: ReplaceFullPath, replaceFullPath: /x}}
        - matches: [{path: {value: /old}}]
          filters:
          - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}
          timeouts: {request: 0s}
          retry: {}
      status: {parents: []}
      """)
    #expect(route.kind == .http && route.created == 1_769_860_800 && route.rejection == nil)
    #expect(
      route.parents == [
        .init(namespace: "shop", name: "cart", port: 80),
        .init(namespace: "other", name: "cart", sectionName: "http"),
      ])
    #expect(route.hostnames == ["cart.example.com", "*.shop.example"])
    let rule = try #require(route.rules.first)
    #expect(
      rule.matches == [
        RouteMatch(path: .exact("/a/"), method: "GET"),
        RouteMatch(
          path: .prefix("/b"), headers: [.init(name: "x-user", value: "tim")],
          queryParameters: [.init(name: "Page", value: "[0-9]+", isRegularExpression: true)]),
        RouteMatch(path: .regularExpression("/c/.*")),
      ])
    #expect(
      rule.filters == [
        .requestHeaders(
          HeaderEdit(set: [.init(name: "A", value: "1")], add: [.init(name: "b", value: "2")], remove: ["c"])),
        .responseHeaders(HeaderEdit(remove: ["Server"])),
        .mirror(Mirror(service: v1, port: 80, numerator: 5)),
        .mirror(Mirror(service: v1, port: 80, numerator: 1, denominator: 3)),
        .cors(
          CORS(
            allowOrigins: ["https://*.example.com:8443", "*"], allowCredentials: true, allowMethods: ["GET", "*"])),
      ])
    #expect(
      rule.backends == [
        RouteBackend(service: v1, port: 80, weight: 90),
        RouteBackend(
          service: ServiceKey("far/v1")!, port: 81, weight: 0, filters: [.rewrite(Rewrite(hostname: "x.y"))]),
      ])
    #expect(rule.name == "one" && rule.requestTimeout == 10_000 && rule.backendRequestTimeout == 1500)
    #expect(rule.retry == RetryPolicy(attempts: 3, statuses: [500, 503], backoff: 100, maximumBackoff: 1000))
    #expect(rule.sessionPersistence == SessionPersistence(name: "s", absoluteTimeout: 7200, isPermanent: true))
    #expect(
      route.rules[1]
        == RouteRule(
          matches: [RouteMatch()],
          filters: [
            .redirect(Redirect(scheme: "https", hostname: "a.b", port: 8443, path: .replaceFull("/x"), status: 308))
          ]))
    #expect(route.rules[2].filters == [.rewrite(Rewrite(path: .replacePrefix("/")))])
    #expect(route.rules[2].requestTimeout == 0 && route.rules[2].retry == RetryPolicy())
  }

  /// GEP-1619: a session cookie has timeouts too, and each rule a name of its own.
  @Test func sessions() throws {
    func sessions(_ kind: String, named name: String = "r") throws -> [SessionPersistence] {
      let route = try decodeRoute(
        routeYAML(
          kind,
          """
            rules:
            - {sessionPersistence: {absoluteTimeout: 90s, idleTimeout: 1m}}
            - {name: second, sessionPersistence: {type: Header}}
            - {sessionPersistence: {sessionName: own, type: Header, absoluteTimeout: 1h, idleTimeout: 500ms}}
          """
        ).replacing("name: r,", with: "name: \(name),"))
      return route.rules.compactMap(\.sessionPersistence)
    }
    let http = try sessions("HTTPRoute")
    try #require(http.count == 3)
    #expect(
      http[0] == SessionPersistence(name: http[0].name, absoluteTimeout: 90, idleTimeout: 60)
        && http[1] == SessionPersistence(name: http[1].name, isHeader: true)
        && http[2] == SessionPersistence(name: "own", isHeader: true, absoluteTimeout: 3600, idleTimeout: 1))
    var names: Set<String> = []
    for session in try (http + sessions("GRPCRoute") + sessions("HTTPRoute", named: "q")) where session.name != "own" {
      #expect(session.name.hasPrefix("weft-session-") && session.name.utf8.count == 29)
      #expect(HTTPToken.isToken(session.name) && names.insert(session.name).inserted)
    }
    #expect(names.count == 6)
    #expect(try sessions("HTTPRoute") == http)
  }

  @Test func whatIsNotSaidIsAsTheGatewayAPIHasIt() throws {
    let route = try decodeRoute(
      """
      apiVersion: gateway.networking.k8s.io/v1beta1
      kind: HTTPRoute
      metadata: {name: r, creationTimestamp: null}
      spec:
        parentRefs: [{group: "", kind: Service, name: cart}]
        rules: [{backendRefs: [{name: v1, port: 80}], matches: [{method: PUT}]}]
      """)
    #expect(
      route
        == RouteObject(
          kind: .http, parents: [.init(namespace: "default", name: "cart")],
          rules: [
            RouteRule(
              matches: [RouteMatch(path: .prefix("/"), method: "PUT")],
              backends: [RouteBackend(service: ServiceKey("default/v1")!, port: 80, weight: 1)])
          ]))
    #expect(try decodeRoute(routeYAML("  hostnames: []")).rules == [RouteRule(matches: [RouteMatch()])])
  }

  @Test(arguments: [
    ("{method: {service: a.B, method: C}}", RouteMatch.Path.exact("/a.B/C")),
    ("{method: {service: a.B}}", .prefix("/a.B")), ("{method: {method: C}}", .regularExpression("/[^/]+/C")),
    ("{method: {type: RegularExpression, service: \"a|b\"}}", .regularExpression("/(?:a|b)/[^/]+")),
    ("{method: {type: RegularExpression, service: a, method: \"c.*\"}}", .regularExpression("/(?:a)/(?:c.*)")),
    ("{headers: [{name: X, value: y}]}", .prefix("/")),
  ])
  func methodsOfGRPCArePaths(_ yaml: String, _ path: RouteMatch.Path) throws {
    let route = try decodeRoute(
      routeYAML("GRPCRoute", "  rules: [{matches: [\(yaml)], backendRefs: [{name: v1, port: 80}]}]"))
    #expect(route.kind == .grpc && route.rules[0].matches.map(\.path) == [path])
  }

  /// By which GRPCRoutes go before each other.
  @Test(arguments: [
    ("{method: {service: a.B, method: Cd}}", 3, 2), ("{method: {service: a.B}}", 3, 0),
    ("{method: {method: Cd}}", 0, 2), ("{method: {type: RegularExpression, service: \"a|b\"}}", 3, 0),
    ("{method: {type: RegularExpression, service: a, method: \"c.*\"}}", 1, 3),
    ("{headers: [{name: X, value: y}]}", 0, 0),
  ])
  func lengthsOfGRPCMatches(_ yaml: String, _ service: UInt32, _ method: UInt32) throws {
    let route = try decodeRoute(
      routeYAML("GRPCRoute", "  rules: [{matches: [\(yaml)], backendRefs: [{name: v1, port: 80}]}]"))
    #expect(route.rules[0].matches.map { [$0.serviceLength, $0.methodLength] } == [[service, method]])
  }

  @Test(arguments: ["v1", "v1alpha2", "v1alpha3"])
  func streamRoutes(_ version: String) throws {
    for (name, kind) in [("TCPRoute", Route.Kind.tcp), ("TLSRoute", .tls)] {
      let yaml = routeYAML(name, "  rules: [{backendRefs: [{name: v1, port: 80, weight: 3}]}]")
        .replacing("k8s.io/v1", with: "k8s.io/\(version)")
      let route = try decodeRoute(yaml)
      #expect(route.kind == kind)
      #expect(route.rules == [RouteRule(backends: [RouteBackend(service: v1, port: 80, weight: 3)])])
    }
  }

  @Test func aFilterThatIsNotSupportedRejectsTheRoute() throws {
    let extensionRef = try decodeRoute(
      routeYAML("  rules: [{filters: [{type: ExtensionRef, extensionRef: {group: a, kind: B, name: c}}]}]"))
    #expect(
      extensionRef.rejection
        == Finding(
          "UnsupportedValue", "spec.rules[0].filters[0].type: filters of the type ExtensionRef are not supported"))
    let both = try decodeRoute(
      routeYAML(
        "  rules: [{filters: [{type: RequestRedirect, requestRedirect: {}}, {type: URLRewrite, urlRewrite: {}}]}]"))
    #expect(both.rejection?.reason == "IncompatibleFilters")
    let grpc = try decodeRoute(
      routeYAML("GRPCRoute", "  rules: [{filters: [{type: URLRewrite, urlRewrite: {hostname: a}}]}]"))
    #expect(grpc.rejection?.reason == "UnsupportedValue")
  }

  @Test func backendsThatAreNoServicesAreInvalid() throws {
    let route = try decodeRoute(
      routeYAML("  rules: [{backendRefs: [{group: example.com, kind: Bucket, name: a.b}]}]"))
    #expect(route.rules[0].backends.map(\.invalid) == ["InvalidKind: Bucket of example.com a.b is not a Service"])
    #expect(route.rejection == nil)
  }

  @Test func parentsThatAreNoServicesAreSomebodyElses() throws {
    let (object, note) = try decodeOne(
      """
      apiVersion: gateway.networking.k8s.io/v1
      kind: HTTPRoute
      metadata: {name: r}
      spec: {parentRefs: [{name: edge}]}
      """)
    guard case .route(let route) = object else { throw ControlPlaneError("not a route") }
    #expect(route.parents.isEmpty && note == "ignored: its parents Gateway edge; only Services are Weft's")
  }

  @Test func grants() throws {
    let (object, _) = try decodeOne(
      """
      apiVersion: gateway.networking.k8s.io/v1beta1
      kind: ReferenceGrant
      metadata: {name: g, namespace: far}
      spec:
        from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}]
        to: [{group: "", kind: Service, name: v1}, {group: "", kind: Secret}]
      """)
    guard case .referenceGrant(let grant) = object else { throw ControlPlaneError("not a grant") }
    #expect(grant.permits(.http, from: "shop", toService: "v1"))
    #expect(!grant.permits(.http, from: "shop", toService: "v2"))
    #expect(!grant.permits(.http, from: "other", toService: "v1"))
    #expect(!grant.permits(.grpc, from: "shop", toService: "v1"))
  }

  @Test(
    arguments: [
      ("1970-01-01T00:00:00Z", 0), ("2000-02-29T23:59:59Z", 951_868_799), ("1969-12-31T23:59:59Z", -1),
      ("2026-01-31T12:00:00.123456Z", 1_769_860_800), ("2026-01-31T07:00:00-05:00", 1_769_860_800),
      ("2100-03-01T00:00:00Z", 4_107_542_400),
    ] as [(String, Int64)])
  func times(_ text: String, _ seconds: Int64) {
    #expect(RFC3339.seconds(text) == seconds)
  }

  @Test(arguments: [
    "", "2026-01-31", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T12:00:00",
    "2026-01-31T12:00:00.Z", "2026-01-31T12:00:00+1:00", "2026-01-31 12:00:00Z", "2026-01-31T12:00:0-Z",
  ])
  func whatIsNoTime(_ text: String) {
    #expect(RFC3339.seconds(text) == nil)
  }
}

@Suite struct ProtocolAndTopologyTests {
  private func service(_ annotation: String) -> String {
    """
    apiVersion: v1
    kind: Service
    metadata: {name: cart, namespace: shop, annotations: {weft.dev/protocol: "\(annotation)"}}
    spec:
      ports:
      - {name: a, port: 8080}
      - {name: b, port: 9090}
      - {name: redis-c, port: 6379}
      - {name: d, port: 7000, appProtocol: grpc}

    """
  }

  private func compiled(_ yaml: String) throws -> [String] {
    var registry = ObjectRegistry()
    var compiler = MeshCompiler(config: MeshConfig())
    _ = compiler.apply(registry.update(["a": FileDecoder.decode(Array(yaml.utf8), file: "a")]))
    return try #require(compiler.services.values.first).ports.map(\.appProtocol)
  }

  private let namespace =
    "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {weft.dev/protocol: http2}}\n"

  @Test func annotationsSayWhatPortsDoNot() throws {
    #expect(try compiled(service("http")) == ["http", "http", "", "grpc"])
    #expect(try compiled(service("8080=http, 9090=tcp")) == ["http", "tcp", "", "grpc"])
    #expect(try compiled(service("9090=tls,http")) == ["http", "tls", "", "grpc"])
    #expect(try compiled(service("8080=http") + namespace) == ["http", "http2", "", "grpc"])
  }

  @Test func aNamespacesAnnotationReachesItsServices() {
    var compiler = MeshCompiler(config: MeshConfig())
    let object = ServiceObject(ports: [.init(port: 80, target: .number(80))])
    _ = compiler.apply([.set(.service, "shop", "a", .service(object)), .set(.service, "far", "b", .service(object))])
    let delta = compiler.apply([.set(.namespace, "", "shop", .namespace(.init(appProtocol: "tls")))])
    #expect(delta.services.values.map { $0.ports.map(\.appProtocol) } == [["tls"]])
    #expect(compiler.apply([.remove(.namespace, "", "shop")]).services.count == 1)
  }

  @Test func aNodesPlaceIsItsWorkloads() throws {
    let (object, _) = try decodeOne(
      """
      apiVersion: v1
      kind: Node
      metadata: {name: n1, labels: {topology.kubernetes.io/zone: eu-1a, topology.kubernetes.io/region: eu-1}}
      """)
    #expect(object == .node(NodeObject(zone: "eu-1a", region: "eu-1")))
    var compiler = MeshCompiler(config: MeshConfig())
    _ = compiler.apply([
      .set(.pod, "shop", "a", .pod(PodObject(node: "n1", addresses: [IPAddress("10.0.0.1")!]))),
      .set(.pod, "shop", "b", .pod(PodObject(node: "n2", addresses: [IPAddress("10.0.0.2")!]))),
      .set(.service, "shop", "db", .service(ServiceObject(ports: [.init(port: 1, target: .number(1))]))),
      .set(
        .endpointSlice, "shop", "db",
        .endpointSlice(
          .init(
            service: "db",
            endpoints: [.init(address: IPAddress("192.0.2.1")!, node: "n1", zone: "own", isDraining: true)]))),
    ])
    let delta = compiler.apply([.set(.node, "", "n1", object)])
    #expect(Set(delta.workloads.keys) == ["shop/a", "endpointslice/shop/db/192.0.2.1"])
    #expect(delta.workloads["shop/a"]?.zone == "eu-1a" && delta.workloads["shop/a"]?.region == "eu-1")
    let outside = delta.workloads["endpointslice/shop/db/192.0.2.1"]
    #expect(outside?.zone == "own" && outside?.region == "eu-1" && outside?.isDraining == true)
    #expect(compiler.apply([.remove(.node, "", "n1")]).workloads["shop/a"]?.zone == "")
  }

  @Test func podsHaveWeights() throws {
    let (object, _) = try decodeOne(
      """
      apiVersion: v1
      kind: Pod
      metadata: {name: a, annotations: {weft.dev/weight: "0"}}
      spec: {nodeName: n1}
      status: {podIP: 10.0.0.1}
      """)
    var compiler = MeshCompiler(config: MeshConfig())
    #expect(compiler.apply([.set(.pod, "default", "a", object)]).workloads["default/a"]?.weight == 0)
  }

  @Test func podsThatEndDrain() throws {
    let (object, _) = try decodeOne(
      """
      apiVersion: v1
      kind: Pod
      metadata: {name: a, deletionTimestamp: "2026-01-31T12:00:00Z"}
      spec: {nodeName: n1}
      status: {podIP: 10.0.0.1}
      """)
    var compiler = MeshCompiler(config: MeshConfig())
    let delta = compiler.apply([.set(.pod, "default", "a", object)])
    #expect(delta.workloads["default/a"]?.isDraining == true && delta.workloads["default/a"]?.isReady == false)
    let slice = ObjectChange.set(
      .endpointSlice, "default", "s",
      .endpointSlice(
        .init(service: "db", endpoints: [.init(address: IPAddress("10.0.0.2")!, isReady: false, isDraining: true)])))
    let other = compiler.apply([
      .set(.pod, "default", "b", .pod(PodObject(node: "n1", addresses: [IPAddress("10.0.0.2")!]))), slice,
    ])
    #expect(other.workloads["default/b"]?.isDraining == true)
  }
}
