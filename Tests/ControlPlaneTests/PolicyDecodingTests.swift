import MeshModel
import Testing

@testable import ControlPlane

func policyYAML(_ spec: String, targets: String = "[{kind: Service, name: cart}]") -> String {
  """
  apiVersion: weft.dev/v1alpha1
  kind: TrafficPolicy
  metadata: {name: p, namespace: shop}
  spec:
    targetRefs: \(targets)
  \(spec)

  """
}

@Suite struct PolicyDecodingTests {
  private func policy(_ yaml: String) throws -> TrafficPolicyObject {
    guard case .trafficPolicy(let policy) = try decodeOne(yaml).object else {
      throw ControlPlaneError("not a policy")
    }
    return policy
  }

  @Test func everythingOfAPolicy() throws {
    let object = try policy(
      policyYAML(
        """
          loadBalancer: {algorithm: ringHash, hash: {cookie: {name: c, ttl: 24h}}, slowStart: 30s}
          timeouts: {request: 1.5s, perTry: 250ms, idle: 0s, connect: 1h}
          retry:
            attempts: 3
            statuses: [503]
            grpcStatuses: [14, 8]
            onConnectFailure: false
            onReset: false
            retriesNonIdempotent: true
            backoff: 100ms
            maximumBackoff: 2s
            bufferLimit: 1048576
          retryBudget: {percent: 25%, interval: 5s, minimumRate: 3, minimumInterval: 2s}
          hedging: {percentile: 90, minimumDelay: 10ms}
          circuitBreaker: {maxConnections: 1, maxPending: 0, maxRequests: 3, maxRetries: 4}
          outlierDetection: {consecutiveErrors: 0, interval: 1s, baseEjectionTime: 10m, successRateDeviation: 1900}
          rateLimits:
          - {keys: [clientIdentity, route, {header: X-User}], requests: 5, interval: 1m, burst: 10}
          - {requests: 7}
          adaptiveConcurrency: {maximum: 3}
          faults:
          - {delay: 100ms, percent: 0.5, header: {name: X-Fault, value: a.*, type: RegularExpression}}
          - {abort: 503}
          - {abortGRPC: 14, percent: 50}
          locality: {isPreferred: false, panicThreshold: 0, overprovisioning: 120}
          sessionPersistence: {name: s, lifetime: 90s, idleTimeout: 10s}
          headers: {forwardedFor: false, via: true, requestID: false, reason: true}
        """,
        targets: """
          [{group: "", kind: Service, name: cart, port: 80}, {kind: Service, name: cart, sectionName: web}]
          """))
    let cart = TrafficPolicy.Target.Kind.service(ServiceKey("shop/cart")!)
    #expect(
      object.targets == [.init(kind: cart, port: 80), .init(kind: cart, sectionName: "web")])
    var expected = TrafficPolicy(namespace: "shop", name: "p", targets: [])
    expected.loadBalancer = LoadBalancer(algorithm: .ringHash(.cookie("c", ttl: 86_400)), slowStart: 30_000)
    expected.timeouts = Timeouts(request: 1500, perTry: 250, idle: 0, connect: 3_600_000)
    expected.retry = RetryPolicy(
      attempts: 3, statuses: [503], grpcStatuses: [14, 8], onConnectFailure: false, onReset: false,
      retriesNonIdempotent: true, backoff: 100, maximumBackoff: 2000, bufferLimit: 1 << 20)
    expected.retryBudget = RetryBudget(percent: 25, interval: 5000, minimumRate: 3, minimumInterval: 2000)
    expected.hedging = Hedging(percentile: 90, minimumDelay: 10)
    expected.circuitBreaker = CircuitBreaker(maxConnections: 1, maxPending: 0, maxRequests: 3, maxRetries: 4)
    expected.outlierDetection = OutlierDetection(
      consecutiveErrors: 0, interval: 1000, baseEjectionTime: 600_000, maximumEjectionTime: 600_000,
      successRateDeviation: 1900)
    expected.rateLimits = [
      RateLimit(keys: [.clientIdentity, .route, .header("x-user")], requests: 5, interval: 60_000, burst: 10),
      RateLimit(requests: 7, burst: 7),
    ]
    expected.adaptiveConcurrency = AdaptiveConcurrency(minimum: 3, maximum: 3)
    expected.faults = [
      Fault(
        effect: .delay(100), perTenThousand: 50,
        header: .init(name: "x-fault", value: "a.*", isRegularExpression: true)),
      Fault(effect: .abort(503)), Fault(effect: .abortGRPC(14), perTenThousand: 5000),
    ]
    expected.locality = Locality(isPreferred: false, panicThreshold: 0, overprovisioning: 120)
    expected.sessionPersistence = SessionPersistence(
      name: "s", absoluteTimeout: 90, idleTimeout: 10, isPermanent: true)
    expected.headers = HeaderOptions(forwardedFor: false, via: true, requestID: false, reason: true)
    #expect(object.policy == expected)
  }

  @Test func routesAndClients() throws {
    let object = try policy(
      policyYAML(
        """
          clients: [{namespace: web}, {serviceAccount: front}, {namespace: far, serviceAccount: a.b}]
          timeouts: {request: 1s}
        """,
        targets: "[{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r.x}, {kind: GRPCRoute, name: g}]"))
    #expect(
      object.targets == [.init(kind: .route("HTTPRoute/shop/r.x")), .init(kind: .route("GRPCRoute/shop/g"))])
    // Breaker, balancer and outliers hold for some clients, or a route's backends, as well.
    let bytes = try policy(
      policyYAML(
        "  clients: [{namespace: web}]\n  circuitBreaker: {maxConnections: 1}\n  loadBalancer: {}\n  outlierDetection: {}",
        targets: "[{kind: TCPRoute, name: t}, {kind: TLSRoute, name: s}]"))
    #expect(bytes.targets == [.init(kind: .route("TCPRoute/shop/t")), .init(kind: .route("TLSRoute/shop/s"))])
    #expect(bytes.policy.circuitBreaker == CircuitBreaker(maxConnections: 1))
    #expect(object.policy.clients == ["web", "shop/front", "far/a.b"])
  }

  @Test(
    "what would have no effect is refused",
    arguments: [
      ("  retry: {}", "[{kind: TCPRoute, name: r}]", "spec.retry: holds for requests"),
      (
        "  headers: {}", "[{kind: HTTPRoute, name: r}, {kind: TLSRoute, name: r}]", "spec.headers: holds for requests"
      ),
    ])
  func withoutEffect(spec: String, targets: String, reason: String) throws {
    let decoded = FileDecoder.decode(Array(policyYAML(spec, targets: targets).utf8), file: "a.yaml")
    #expect(decoded.problems.contains { $0.description.contains(reason) }, "\(decoded.problems)")
  }

  /// To name the defaults is to say something: they go before what a less specific policy says.
  @Test(arguments: [("{}", HeaderOptions()), ("{reason: true}", HeaderOptions(reason: true))])
  func headersAreSaidAsAWhole(yaml: String, expected: HeaderOptions) throws {
    #expect(try policy(policyYAML("  headers: \(yaml)")).policy.headers == expected)
    #expect(try policy(policyYAML("  timeouts: {request: 1s}")).policy.headers == nil)
  }

  @Test func whatIsNotSaidIsTheDefault() throws {
    let object = try policy(
      policyYAML("  retry: {}\n  hedging: {}\n  outlierDetection: {}\n  loadBalancer: {}\n  adaptiveConcurrency: {}"))
    var expected = TrafficPolicy(namespace: "shop", name: "p", targets: [])
    expected.retry = RetryPolicy()
    expected.hedging = Hedging()
    expected.outlierDetection = OutlierDetection()
    expected.loadBalancer = LoadBalancer()
    expected.adaptiveConcurrency = AdaptiveConcurrency()
    #expect(object.policy == expected)
  }

  @Test(arguments: [
    ("roundRobin", LoadBalancer.Algorithm.roundRobin), ("random", .random), ("leastRequest", .leastRequest),
    ("peakEWMA", .peakEWMA), ("maglev, hash: {header: X}", .maglev(.header("x"))),
    ("ringHash, hash: {sourceAddress: true}", .ringHash(.sourceAddress)),
    ("ringHash, hash: {cookie: {name: c}}", .ringHash(.cookie("c", ttl: nil))),
  ])
  func balancers(_ yaml: String, _ algorithm: LoadBalancer.Algorithm) throws {
    #expect(try policy(policyYAML("  loadBalancer: {algorithm: \(yaml)}")).policy.loadBalancer?.algorithm == algorithm)
  }
}
