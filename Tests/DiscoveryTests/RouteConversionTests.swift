import DiscoveryAPI
import MeshModel
import Testing

@Suite struct RouteConversionTests {
  private static let service = ServiceKey(namespace: "shop", name: "cart")

  static let full = Route(
    kind: .http, namespace: "shop", name: "cart.v1", created: 1_700_000_000,
    parents: [.init(service: service), .init(service: service, port: 80)],
    hostnames: ["cart", "*.example.com"],
    rules: [
      RouteRule(
        name: "all",
        matches: [
          RouteMatch(path: .exact("/a")),
          RouteMatch(
            path: .prefix("/b"), headers: [.init(name: "x-user", value: "tim")],
            queryParameters: [.init(name: "Page", value: "[0-9]+", isRegularExpression: true)], method: "GET"),
          RouteMatch(path: .regularExpression("/c/.*"), serviceLength: 3, methodLength: 7),
        ],
        filters: [
          .requestHeaders(
            HeaderEdit(set: [.init(name: "A", value: "1")], add: [.init(name: "b", value: "")], remove: ["c"])),
          .responseHeaders(HeaderEdit(remove: ["server"])),
          .redirect(
            Redirect(scheme: "https", hostname: "example.com", port: 8443, path: .replaceFull("/x"), status: 308)),
          .redirect(Redirect()),
          .rewrite(Rewrite(hostname: "other", path: .replacePrefix("/"))),
          .rewrite(Rewrite()),
          .mirror(Mirror(service: service, port: 80, numerator: 1, denominator: 3)),
          .cors(
            CORS(
              allowOrigins: ["*"], allowCredentials: true, allowMethods: ["GET"], allowHeaders: ["x"],
              exposeHeaders: ["y"], maxAge: 60)),
        ],
        backends: [
          RouteBackend(service: service, port: 80, weight: 0, filters: [.rewrite(Rewrite(hostname: "v1"))]),
          RouteBackend(service: .init(namespace: "", name: ""), port: 0, weight: 1_000_000, invalid: "InvalidKind"),
        ],
        requestTimeout: 0, backendRequestTimeout: TrafficTime.maximum,
        retry: RetryPolicy(attempts: 0, statuses: [503], grpcStatuses: [], onReset: false, backoff: 0),
        sessionPersistence: SessionPersistence(
          name: "s", absoluteTimeout: 1, idleTimeout: UInt32(Int32.max), isPermanent: true)),
      RouteRule(),
    ])

  @Test(arguments: [
    full, Route(kind: .grpc, namespace: "a", name: "b", parents: []),
    Route(kind: .tcp, namespace: "a", name: "b", parents: []),
    Route(kind: .tls, namespace: "a", name: "b", parents: []),
  ])
  func nothingIsLost(_ route: Route) throws {
    let bytes: [UInt8] = try Weft_Mesh_V1_Route(route).serializedBytes()
    #expect(try Route(Weft_Mesh_V1_Route(serializedBytes: bytes)) == route)
  }

  private static let spoilt: [(String, @Sendable (inout Weft_Mesh_V1_Route) -> Void)] = [
    ("namespace", { $0.namespace = "Shop" }), ("name", { $0.name = "" }),
    ("kind", { $0.kind = .UNRECOGNIZED(9) }),
    ("parents.service", { $0.parents[0].service = "cart" }), ("parents.port", { $0.parents[0].port = 0 }),
    ("parents", { $0.parents = Array(repeating: $0.parents[0], count: 1001) }),
    ("hostnames", { $0.hostnames = ["*"] }), ("hostnames", { $0.hostnames = ["a.*.b"] }),
    ("rules.matches.path", { $0.rules[0].matches[0].path = nil }),
    ("rules.matches.path", { $0.rules[0].matches[0].exact = "a" }),
    ("rules.matches.path", { $0.rules[0].matches[0].exact = "/" + String(repeating: "a", count: 1024) }),
    ("rules.matches.prefix", { $0.rules[0].matches[0].prefix = "/a/" }),
    ("rules.matches.regular_expression", { $0.rules[0].matches[0].regularExpression = "" }),
    ("rules.matches.regular_expression", { $0.rules[0].matches[0].regularExpression = "(" }),
    ("rules.matches.headers.name", { $0.rules[0].matches[1].headers[0].name = "X-User" }),
    ("rules.matches.headers.value", { $0.rules[0].matches[1].headers[0].value = "a\r\nb" }),
    ("rules.matches.query_parameters.name", { $0.rules[0].matches[1].queryParameters[0].name = "" }),
    ("rules.matches.method", { $0.rules[0].matches[1].method = "GET /" }),
    ("rules.filters", { $0.rules[0].filters[0].kind = nil }),
    ("rules.filters.request_headers.set.name", { $0.rules[0].filters[0].requestHeaders.set[0].name = "a b" }),
    ("rules.filters.request_headers.remove", { $0.rules[0].filters[0].requestHeaders.remove = [""] }),
    ("rules.filters.redirect.status", { $0.rules[0].filters[2].redirect.status = 200 }),
    ("rules.filters.redirect.scheme", { $0.rules[0].filters[2].redirect.scheme = "ftp" }),
    ("rules.filters.redirect.hostname", { $0.rules[0].filters[2].redirect.hostname = "*.a" }),
    ("rules.filters.mirror.port", { $0.rules[0].filters[6].mirror.port = 70_000 }),
    ("rules.filters.mirror.denominator", { $0.rules[0].filters[6].mirror.denominator = 0 }),
    ("rules.filters.mirror.numerator", { $0.rules[0].filters[6].mirror.numerator = 4 }),
    ("rules.filters.cors.allow_origins", { $0.rules[0].filters[7].cors.allowOrigins = [""] }),
    ("rules.backends.service", { $0.rules[0].backends[0].service = "/" }),
    ("rules.backends.weight", { $0.rules[0].backends[0].weight = 1_000_001 }),
    ("rules.request_timeout", { $0.rules[0].requestTimeout = TrafficTime.maximum + 1 }),
    ("rules.retry.attempts", { $0.rules[0].retry.attempts = 21 }),
    ("rules.retry.grpc_statuses", { $0.rules[0].retry.grpcStatuses = [17] }),
    ("rules.retry.buffer_limit", { $0.rules[0].retry.bufferLimit = 2 << 20 }),
    ("rules.session_persistence.name", { $0.rules[0].sessionPersistence.name = "a;b" }),
    ("rules.session_persistence.absolute_timeout", { $0.rules[0].sessionPersistence.absoluteTimeout = 0 }),
    ("rules.session_persistence.idle_timeout", { $0.rules[0].sessionPersistence.idleTimeout = 1 << 31 }),
    ("rules.session_persistence.is_permanent", { $0.rules[0].sessionPersistence.clearAbsoluteTimeout() }),
    ("rules.session_persistence.is_permanent", { $0.rules[0].sessionPersistence.isHeader = true }),
  ]

  @Test(arguments: spoilt)
  func whatIsWrongIsNamed(_ field: String, _ spoil: @Sendable (inout Weft_Mesh_V1_Route) -> Void) {
    var message = Weft_Mesh_V1_Route(Self.full)
    spoil(&message)
    let problem = #expect(throws: InvalidResource.self) { try Route(message) }
    #expect(problem?.field == field)
  }
}

@Suite struct PolicyConversionTests {
  static let full: TrafficPolicy = {
    var policy = TrafficPolicy(
      namespace: "shop", name: "cart", created: 5,
      targets: [
        .init(kind: .service(ServiceKey("shop/cart")!), port: 80), .init(kind: .route("HTTPRoute/shop/cart.v1")),
      ], clients: ["web", "web/front.end"])
    policy.loadBalancer = LoadBalancer(algorithm: .ringHash(.cookie("c", ttl: 0)), slowStart: 30_000)
    policy.timeouts = Timeouts(request: 0, perTry: 250, idle: nil, connect: 1)
    policy.retry = RetryPolicy()
    policy.retryBudget = RetryBudget()
    policy.hedging = Hedging()
    policy.circuitBreaker = CircuitBreaker(maxConnections: 0, maxPending: nil, maxRequests: 7)
    policy.outlierDetection = OutlierDetection()
    policy.rateLimits = [RateLimit(keys: [.clientIdentity, .route, .header("x-user")], requests: 5, burst: 10)]
    policy.adaptiveConcurrency = AdaptiveConcurrency()
    policy.faults = [
      Fault(effect: .delay(100), perTenThousand: 1, header: .init(name: "x", value: "y")),
      Fault(effect: .abort(503)), Fault(effect: .abortGRPC(14)),
    ]
    policy.locality = Locality(isPreferred: false, panicThreshold: 0, overprovisioning: 100)
    policy.sessionPersistence = SessionPersistence(name: "s", isHeader: true, idleTimeout: 60)
    policy.headers = HeaderOptions(forwardedFor: false, via: true, requestID: false, reason: true)
    return policy
  }()

  private static let defaultHeaders: TrafficPolicy = {
    var policy = TrafficPolicy(namespace: "a", name: "b", targets: [])
    policy.headers = HeaderOptions()
    return policy
  }()

  private static func balancing(_ algorithm: LoadBalancer.Algorithm) -> TrafficPolicy {
    var policy = TrafficPolicy(namespace: "a", name: "b", targets: [])
    policy.loadBalancer = LoadBalancer(algorithm: algorithm)
    return policy
  }

  @Test(arguments: [
    full, TrafficPolicy(namespace: "a", name: "b", targets: []), defaultHeaders, balancing(.roundRobin),
    balancing(.random),
    balancing(.leastRequest), balancing(.peakEWMA), balancing(.maglev(.sourceAddress)),
    balancing(.maglev(.header("x"))), balancing(.ringHash(.cookie("c", ttl: nil))),
  ])
  func nothingIsLost(_ policy: TrafficPolicy) throws {
    let bytes: [UInt8] = try Weft_Mesh_V1_TrafficPolicy(policy).serializedBytes()
    #expect(try TrafficPolicy(Weft_Mesh_V1_TrafficPolicy(serializedBytes: bytes)) == policy)
  }

  private static let spoilt: [(String, @Sendable (inout Weft_Mesh_V1_TrafficPolicy) -> Void)] = [
    ("name", { $0.name = "A" }), ("targets", { $0.targets[0].kind = nil }),
    ("targets.service", { $0.targets[0].service = "x" }), ("targets.route", { $0.targets[1].route = "x/y" }),
    ("targets.port", { $0.targets[0].port = 65_536 }), ("clients", { $0.clients = ["a/b/c"] }),
    ("load_balancer.algorithm", { $0.loadBalancer.algorithm = nil }),
    ("load_balancer.ring_hash", { $0.loadBalancer.ringHash = .init() }),
    ("load_balancer.maglev.header", { $0.loadBalancer.maglev = .with { $0.header = "X" } }),
    ("load_balancer.slow_start", { $0.loadBalancer.slowStart = TrafficTime.maximum + 1 }),
    ("timeouts.per_try", { $0.timeouts.perTry = .max }), ("retry.attempts", { $0.retry.attempts = 21 }),
    ("retry.statuses", { $0.retry.statuses = [99] }), ("retry_budget.percent", { $0.retryBudget.percent = 101 }),
    ("hedging.percentile", { $0.hedging.percentile = 100 }),
    ("outlier_detection.interval", { $0.outlierDetection.interval = 0 }),
    ("rate_limits.requests", { $0.rateLimits[0].requests = 0 }),
    ("rate_limits.keys", { $0.rateLimits[0].keys = [.init()] }),
    ("adaptive_concurrency.minimum", { $0.adaptiveConcurrency.minimum = 1001 }),
    ("faults.effect", { $0.faults[0].effect = nil }), ("faults.abort", { $0.faults[1].abort = 100 }),
    ("faults.abort_grpc", { $0.faults[2].abortGrpc = 17 }),
    ("faults.per_ten_thousand", { $0.faults[0].perTenThousand = 10_001 }),
    ("locality.panic_threshold", { $0.locality.panicThreshold = 101 }),
    ("session_persistence.name", { $0.sessionPersistence.name = "" }),
  ]

  @Test(arguments: spoilt)
  func whatIsWrongIsNamed(_ field: String, _ spoil: @Sendable (inout Weft_Mesh_V1_TrafficPolicy) -> Void) {
    var message = Weft_Mesh_V1_TrafficPolicy(Self.full)
    spoil(&message)
    let problem = #expect(throws: InvalidResource.self) { try TrafficPolicy(message) }
    #expect(problem?.field == field)
  }
}

@Suite struct WorkloadConversionTests {
  @Test(arguments: [0, 1, 1_000_000])
  func whereAWorkloadIsAndHowMuchItTakes(_ weight: UInt32) throws {
    let workload = Workload(
      id: "shop/a", namespace: "shop", name: "a", serviceAccount: "default", node: "n1", addresses: [],
      isMeshed: true, zone: "eu-1a", region: "eu-1", isDraining: true, weight: weight)
    let bytes: [UInt8] = try Weft_Mesh_V1_Workload(workload).serializedBytes()
    #expect(try Workload(Weft_Mesh_V1_Workload(serializedBytes: bytes)) == workload)
  }

  @Test func aWeightBeyondItsBoundIsRefused() {
    var message = Weft_Mesh_V1_Workload(
      Workload(
        id: "a", namespace: "shop", name: "a", serviceAccount: "default", node: "", addresses: [], isMeshed: false))
    #expect(!message.hasWeight)
    message.weight = 1_000_001
    #expect(
      throws: InvalidResource(resource: "workload a", field: "weight", reason: "1000001 is not within 0 to 1000000")
    ) { try Workload(message) }
  }
}
