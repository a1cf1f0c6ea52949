import MeshModel
import Testing

@testable import ProxyCore

/// What holds for a Service's port.
@Suite struct PortTrafficTests {
  static let other = ServiceKey(namespace: "shop", name: "ratings")
  static let routeID = "HTTPRoute/shop/r"
  let client = SPIFFEID("spiffe://cluster.local/ns/shop/sa/web")!

  /// A policy that can be told from the others by its time for a request.
  func policy(
    _ name: String, _ milliseconds: UInt32, _ kind: TrafficPolicy.Target.Kind = .service(.reviews), port: UInt16? = nil,
    clients: [String] = [], created: Int64 = 0, fill: (inout TrafficPolicy) -> Void = { _ in }
  ) -> TrafficPolicy {
    var policy = TrafficPolicy(
      namespace: "shop", name: name, created: created, targets: [.init(kind: kind, port: port)], clients: clients)
    policy.timeouts.request = milliseconds
    fill(&policy)
    return policy
  }

  func snapshot(_ policies: [TrafficPolicy], now: NanoTime = 0) -> MeshSnapshot {
    var update = MeshSnapshotUpdate(services: [.sample("reviews", ports: [80, 81]), .sample("ratings")])
    update.routes = [.sample("r", ["all": RouteMatch()])]
    update.policies = policies
    update.now = now
    return MeshSnapshot().applying(update)
  }

  func changed(_ snapshot: MeshSnapshot, _ body: (inout MeshSnapshotUpdate) -> Void) -> MeshSnapshot {
    var update = MeshSnapshotUpdate()
    update.node = "one"
    update.now = .seconds(1)
    body(&update)
    return snapshot.applying(update)
  }

  func port(_ snapshot: MeshSnapshot, _ port: UInt16 = 80) throws -> PortTraffic {
    try #require(snapshot.traffic(of: .reviews, port: port))
  }

  // MARK: Precedence

  /// From the least to the most specific: each goes before all that stand in front of it.
  @Test func theMostSpecificPolicyHolds() throws {
    let ascending = [
      policy("service", 1), policy("service-namespace", 2, clients: ["shop"]),
      policy("service-account", 3, clients: ["shop/web"]), policy("port", 4, port: 80),
      policy("port-namespace", 5, port: 80, clients: ["shop"]),
      policy("port-account", 6, port: 80, clients: ["x", "shop/web"]), policy("route", 7, .route(Self.routeID)),
      policy("route-namespace", 8, .route(Self.routeID), clients: ["shop"]),
      policy("route-account", 9, .route(Self.routeID), clients: ["shop/web"]),
    ]
    for count in 1...ascending.count {
      let held = snapshot(Array(ascending.prefix(count)).reversed())
      let traffic = try port(held)
      #expect(traffic.policy(client: client, routeID: Self.routeID).requestTimeout == .milliseconds(UInt64(count)))
      // Without the route, without the port, without the client.
      #expect(
        traffic.policy(client: client, routeID: nil).requestTimeout == .milliseconds(UInt64(min(count, 6))))
      #expect(
        try port(held, 81).policy(client: client, routeID: nil).requestTimeout == .milliseconds(UInt64(min(count, 3))))
      let stranger = SPIFFEID("spiffe://cluster.local/ns/far/sa/web")!
      let everybody: UInt64 = count < 4 ? 1 : count < 7 ? 4 : 7
      for unnamed in [nil, stranger] {
        #expect(
          traffic.policy(client: unnamed, routeID: Self.routeID).requestTimeout == .milliseconds(everybody))
      }
      #expect(traffic.distinguishesClients == (count > 1))
    }
  }

  @Test func ofEqualsTheOldestHoldsThenTheFirstByName() throws {
    let policies = [
      policy("c", 1, created: 30), policy("b", 2, created: 20), policy("a", 3, created: 20),
      policy("d", 4, created: 40),
    ]
    for rotation in 0..<4 {
      let traffic = try port(snapshot(Array(policies[rotation...] + policies[..<rotation])))
      #expect(traffic.policy(client: nil, routeID: nil).requestTimeout == .milliseconds(3))
    }
    let later = changed(snapshot(policies)) { $0.removedPolicies = ["shop/a"] }
    #expect(try port(later).policy(client: nil, routeID: nil).requestTimeout == .milliseconds(2))
  }

  /// Each setting comes from the most specific policy that says it.
  @Test func settingsAreFoldedOneByOne() throws {
    let traffic = try port(
      snapshot([
        policy("service", 1) {
          $0.timeouts.connect = 70
          $0.retry = RetryPolicy(attempts: 7)
          $0.faults = [Fault(effect: .delay(1))]
          $0.loadBalancer = LoadBalancer(algorithm: .random)
        },
        policy("port", 2, port: 80) {
          $0.timeouts.request = nil
          $0.retry = RetryPolicy(attempts: 8)
          $0.faults = [Fault(effect: .delay(2))]
        },
        policy("route", 3, .route(Self.routeID)) {
          $0.timeouts.request = nil
          $0.faults = [Fault(effect: .delay(3)), Fault(effect: .delay(4))]
        },
      ]))
    let policy = traffic.policy(client: nil, routeID: Self.routeID)
    #expect(policy.requestTimeout == .milliseconds(1) && policy.connectTimeout == .milliseconds(70))
    #expect(policy.retry?.attempts == 8 && policy.loadBalancer.algorithm == .random)
    #expect(policy.faults.map(\.effect) == [.delay(3), .delay(4)])
    // What nobody says: the defaults.
    #expect(policy.perTryTimeout == 0 && policy.idleTimeout == .seconds(3600) && policy.outlierDetection == nil)
    #expect(policy.headers == HeaderOptions() && policy.budget.policy == RetryBudget())
  }

  /// To say the defaults is to say something: a specific policy may go back to them.
  @Test func theDefaultsMayBeSaid() throws {
    let traffic = try port(
      snapshot([
        policy("service", 1) { $0.headers = HeaderOptions(via: true, reason: true) },
        policy("port", 2, port: 80) { _ in },
        policy("route", 3, .route(Self.routeID)) { $0.headers = HeaderOptions() },
      ]))
    #expect(traffic.policy(client: nil, routeID: nil).headers == HeaderOptions(via: true, reason: true))
    #expect(traffic.policy(client: nil, routeID: Self.routeID).headers == HeaderOptions())
  }

  @Test func aPolicyOfAnotherPortOrServiceDoesNotHold() throws {
    let held = snapshot([policy("port", 1, port: 81), policy("other", 2, .service(Self.other))])
    #expect(try port(held).policy(client: nil, routeID: nil).requestTimeout == 0)
    #expect(try port(held, 81).policy(client: nil, routeID: nil).requestTimeout == .milliseconds(1))
    #expect(
      held.traffic(of: Self.other, port: 80)?.policy(client: nil, routeID: nil).requestTimeout == .milliseconds(2))
    #expect(held.traffic(of: .reviews, port: 82) == nil)
  }

  // MARK: What is kept

  var limited: TrafficPolicy {
    policy("p", 1) {
      $0.circuitBreaker = CircuitBreaker(maxRequests: 2)
      $0.adaptiveConcurrency = AdaptiveConcurrency()
      $0.rateLimits = [RateLimit(requests: 1, interval: 100_000, burst: 1)]
    }
  }

  @Test func unrelatedChangesLeaveThePortAsItIs() throws {
    let before = snapshot([limited])
    let traffic = try port(before)
    let after = changed(before) {
      $0.workloads = [.sample("w", "10.0.0.1", services: ["reviews": [(80, 80)]])]
      $0.services = [.sample("ratings", ports: [80, 90])]
      $0.policies = [policy("other", 9, .service(Self.other)), policy("nowhere", 9, .route("HTTPRoute/shop/none"))]
      $0.routes = [.sample("o", ["all": RouteMatch()], parent: .init(service: Self.other))]
    }
    #expect(try port(after) === traffic && port(after, 81) === port(before, 81))
    #expect(after.traffic(of: Self.other, port: 90) != nil)
  }

  /// A change of the port's own keeps what is counted, as long as its settings stay.
  @Test func countsAreKeptOverChanges() throws {
    let before = snapshot([limited])
    let old = try port(before)
    let limit = limited.rateLimits[0]
    #expect(old.limits.tryAcquire(.requests) && old.limits.tryAcquire(.requests) && !old.limits.tryAcquire(.requests))
    let bucket = try #require(old.buckets(of: limit))
    #expect(bucket.take(0, now: 0) == .allowed)
    let after = changed(before) {
      $0.routes = [.sample("new", ["all": RouteMatch()])]
      $0.policies = [policy("q", 5, port: 80)]
    }
    let new = try port(after)
    #expect(new !== old && new.limits === old.limits && new.budget === old.budget)
    #expect(new.adaptiveLimit === old.adaptiveLimit && new.adaptiveLimit != nil)
    #expect(new.buckets(of: limit) === bucket && !new.limits.tryAcquire(.requests))
    if case .refused = bucket.take(0, now: 0) {} else { Issue.record("the bucket has been filled again") }
  }

  @Test func newSettingsHoldAtOnce() throws {
    let before = snapshot([limited])
    let old = try port(before)
    #expect(old.limits.tryAcquire(.requests) && old.limits.tryAcquire(.requests))
    var changed = limited
    changed.circuitBreaker = CircuitBreaker(maxRequests: 3)
    changed.rateLimits = [RateLimit(requests: 5, burst: 5)]
    changed.retryBudget = RetryBudget(percent: 50)
    let new = try port(self.changed(before) { $0.policies = [changed] })
    #expect(new.limits === old.limits && new.limits.tryAcquire(.requests) && !new.limits.tryAcquire(.requests))
    #expect(new.budget !== old.budget && new.budget.policy.percent == 50)
    #expect(new.buckets(of: limited.rateLimits[0]) == nil && new.buckets(of: changed.rateLimits[0]) != nil)
    // Without the policy: no limit but the default ones.
    let free = try port(self.changed(before) { $0.removedPolicies = ["shop/p"] })
    #expect(free.limits === old.limits && free.limits.tryAcquire(.requests) && free.adaptiveLimit == nil)
    #expect(free.policy(client: nil, routeID: nil).buckets.isEmpty)
  }

  // MARK: Incremental changes

  /// A snapshot as text: what a request could meet.
  private func effect(of snapshot: MeshSnapshot, _ services: [ServiceKey]) -> [String] {
    var lines: [String] = []
    for service in services {
      for number in 80...82 as ClosedRange<UInt16> {
        guard let traffic = snapshot.traffic(of: service, port: number) else { continue }
        lines.append("\(service):\(number) \(traffic.appProtocol) \(traffic.distinguishesClients)")
        for path in ["/", "/a", "/b"] {
          let rule = traffic.routes.match(.request(path), clientNamespace: "shop")
          lines.append("  \(path) \(rule?.rule.routeID ?? "-") \(rule?.rule.rule.name ?? "-")")
        }
        for route in [nil, "HTTPRoute/shop/r0", "HTTPRoute/shop/r1", "HTTPRoute/shop/r2"] {
          for client in [nil, client] {
            let policy = traffic.policy(client: client, routeID: route)
            lines.append(
              "  \(route ?? "-") \(policy.requestTimeout) \(policy.connectTimeout) \(policy.retry?.attempts ?? 0)")
          }
        }
      }
    }
    return lines
  }

  @Test(arguments: 1...8 as ClosedRange<UInt64>) func incrementalChangesEqualAFullRebuild(seed: UInt64) {
    var random = FastRandom(seed: seed)
    let keys = (0..<4).map { ServiceKey(namespace: "shop", name: "s\($0)") }
    var services: [ServiceKey: Service] = [:]
    var routes: [String: Route] = [:]
    var policies: [String: TrafficPolicy] = [:]
    var snapshot = MeshSnapshot()
    var distinct: Set<[String]> = []
    func some<T>(_ values: [T]) -> T { values.randomElement(using: &random)! }
    func number(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }
    for step in 0..<150 {
      var update = MeshSnapshotUpdate()
      update.node = "one"
      for _ in 0...number(3) {
        switch number(6) {
        case 0:
          let key = some(keys)
          let ports = (80...82 as ClosedRange<UInt16>).filter { _ in number(2) == 0 }
          let service = Service(
            key: key, addresses: [],
            ports: ports.map { .init(port: $0, appProtocol: some(["", "http", "grpc", "tcp"])) })
          update.services.removeAll { $0.key == key }
          update.removedServices.removeAll { $0 == key }
          update.services.append(service)
          services[key] = service
        case 1:
          let key = some(keys)
          guard services.removeValue(forKey: key) != nil else { continue }
          update.services.removeAll { $0.key == key }
          update.removedServices.append(key)
        case 2:
          let name = "r\(number(3))"
          var route = Route.sample(
            name, ["one": RouteMatch(path: .prefix(some(["/", "/a"]))), "two": RouteMatch(path: .prefix("/b"))],
            created: Int64(number(3)))
          route.parents = (0...number(2)).map { _ in .init(service: some(keys), port: some([nil, 80, 81])) }
          update.routes.removeAll { $0.id == route.id }
          update.removedRoutes.removeAll { $0 == route.id }
          update.routes.append(route)
          routes[route.id] = route
        case 3:
          let id = "HTTPRoute/shop/r\(number(3))"
          guard routes.removeValue(forKey: id) != nil else { continue }
          update.routes.removeAll { $0.id == id }
          update.removedRoutes.append(id)
        case 4:
          let kind = some([TrafficPolicy.Target.Kind.service(some(keys)), .route("HTTPRoute/shop/r\(number(3))")])
          var one = policy(
            "p\(number(5))", UInt32(1 + number(9)), kind, port: some([nil, 80]),
            clients: some([[], ["shop"], ["shop/web"]]),
            created: Int64(number(3)))
          one.targets += (0..<number(2)).map { _ in .init(kind: .service(some(keys)), port: some([nil, 81])) }
          if number(2) == 0 { one.retry = RetryPolicy(attempts: UInt32(1 + number(9))) }
          update.policies.removeAll { $0.id == one.id }
          update.removedPolicies.removeAll { $0 == one.id }
          update.policies.append(one)
          policies[one.id] = one
        default:
          let id = "shop/p\(number(5))"
          guard policies.removeValue(forKey: id) != nil else { continue }
          update.policies.removeAll { $0.id == id }
          update.removedPolicies.append(id)
        }
      }
      snapshot = snapshot.applying(update)
      var whole = MeshSnapshotUpdate()
      whole.isComplete = true
      whole.node = "one"
      whole.services = Array(services.values)
      whole.routes = Array(routes.values)
      whole.policies = Array(policies.values)
      let full = MeshSnapshot().applying(whole)
      let lines = effect(of: snapshot, keys)
      #expect(lines == effect(of: full, keys), "step \(step)")
      #expect(snapshot.routes == full.routes && snapshot.policies == full.policies, "step \(step)")
      distinct.insert(lines)
    }
    // The changes did change something.
    #expect(distinct.count > 50)
  }
}

extension PortTraffic {
  /// Of a client that no policy names.
  var limits: CircuitLimits { policy(client: nil, routeID: nil).limits }
  var budget: SharedRetryBudget { policy(client: nil, routeID: nil).budget }
  var adaptiveLimit: AdaptiveLimit? { policy(client: nil, routeID: nil).adaptiveLimit }

  func buckets(of limit: RateLimit) -> TokenBuckets? {
    policy(client: nil, routeID: nil).buckets.first { $0.limit == limit }
  }
}
