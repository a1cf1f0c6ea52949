import MeshModel
import Testing

@testable import ProxyCore

/// What each policy counts, and which policies say how a backend is reached.
extension PortTrafficTests {
  /// Outliers are found together by those who judge by the same settings, whichever policy says them.
  @Test func outlierBoardsFollowTheSettings() throws {
    let (one, two) = (OutlierDetection(consecutiveErrors: 1), OutlierDetection(consecutiveErrors: 2))
    let before = snapshot([
      policy("a", 1) { $0.outlierDetection = one },
      policy("b", 2, clients: ["shop"]) { $0.outlierDetection = OutlierDetection(consecutiveErrors: 1) },
      policy("c", 3, clients: ["far"]) { $0.outlierDetection = two },
    ])
    let old = try port(before)
    let board = try #require(old.outlierBoard(of: one, service: .reviews, port: 80, family: .v4))
    let others = [
      old.outlierBoard(of: one, service: .reviews, port: 80, family: .v6),
      old.outlierBoard(of: two, service: .reviews, port: 80, family: .v4),
    ]
    #expect(others.allSatisfy { $0 != nil && $0 !== board })
    #expect(try port(before, 81).outlierBoard(of: one, service: .reviews, port: 81, family: .v4) !== board)
    let new = try port(changed(before) { $0.removedPolicies = ["shop/a", "shop/c"] })
    #expect(new !== old && new.outlierBoard(of: one, service: .reviews, port: 80, family: .v4) === board)
    #expect(new.outlierBoard(of: two, service: .reviews, port: 80, family: .v4) == nil)
  }

  /// Each policy counts by itself: clients, and routes, that have one of their own don't fill that of the others.
  @Test func eachPolicyCountsByItself() throws {
    let limit = RateLimit(requests: 1, interval: 100_000, burst: 1)
    let all = policy("all", 1) {
      $0.circuitBreaker = CircuitBreaker(maxRequests: 1)
      $0.rateLimits = [limit]
    }
    let some = policy("some", 2, clients: ["shop"]) {
      $0.circuitBreaker = CircuitBreaker(maxRequests: 2)
      $0.rateLimits = [limit]
    }
    let route = policy("route", 3, .route(Self.routeID)) { $0.rateLimits = [limit] }
    let traffic = try port(snapshot([all, some, route]))
    let everybody = traffic.policy(client: nil, routeID: nil)
    let named = traffic.policy(client: client, routeID: nil)
    #expect(everybody.limits.tryAcquire(.requests) && !everybody.limits.tryAcquire(.requests))
    #expect(named.limits.tryAcquire(.requests) && named.limits.tryAcquire(.requests))
    #expect(!named.limits.tryAcquire(.requests))
    for policy in [everybody, named, traffic.policy(client: nil, routeID: Self.routeID)] {
      #expect(policy.buckets.count == 1 && policy.buckets[0].take(0, now: 0) == .allowed)
    }
    // The route's policy says no breaker: that of the Service holds.
    #expect(traffic.policy(client: client, routeID: Self.routeID).limits === named.limits)
  }

  /// A policy that takes the place of one that has gone counts on from what is under way.
  @Test func aBreakersPlaceIsInherited() throws {
    let before = snapshot([limited])
    #expect(try port(before).limits.tryAcquire(.requests))
    let after = changed(before) {
      $0.removedPolicies = ["shop/p"]
      $0.policies = [policy("q", 1) { $0.circuitBreaker = CircuitBreaker(maxRequests: 2) }]
    }
    let limits = try port(after).limits
    #expect(limits.tryAcquire(.requests) && !limits.tryAcquire(.requests))
    // Beside one that stays, another begins anew.
    let beside = changed(after) {
      $0.policies = [policy("r", 1, port: 80) { $0.circuitBreaker = CircuitBreaker(maxRequests: 1) }]
    }
    #expect(try port(beside).limits !== limits && port(beside).limits.tryAcquire(.requests))
  }

  // MARK: Backends

  /// How a backend is reached: by what its own policies say, and before those the route's that leads there.
  @Test func aRoutesPoliciesReachItsBackends() throws {
    let held = snapshot([
      policy("route", 1, .route(Self.routeID)) {
        $0.loadBalancer = LoadBalancer(algorithm: .random)
        $0.circuitBreaker = CircuitBreaker(maxRequests: 1)
      },
      policy("parent", 2) { $0.timeouts.connect = 70 },
      policy("backend", 3, .service(Self.other)) {
        $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
        $0.timeouts.connect = 80
        $0.circuitBreaker = CircuitBreaker(maxRequests: 5)
      },
    ])
    let parent = try port(held)
    let backend = try #require(held.traffic(of: Self.other, port: 80))
    #expect(parent.shapesBackends(ofRoute: Self.routeID) && !backend.shapesBackends(ofRoute: Self.routeID))
    let byRoute = backend.backendPolicy(client: nil, routeID: Self.routeID, parent: parent)
    #expect(byRoute.loadBalancer.algorithm == .random && byRoute.connectTimeout == .milliseconds(80))
    #expect(byRoute.limits === parent.policy(client: nil, routeID: Self.routeID).limits)
    let direct = backend.backendPolicy(client: nil, routeID: nil, parent: nil)
    #expect(direct.loadBalancer.algorithm == .roundRobin && direct.limits !== byRoute.limits)
    // A policy of the route that says nothing of backends needs no balancer of its own.
    let plain = try port(snapshot([policy("route", 1, .route(Self.routeID))]))
    #expect(!plain.shapesBackends(ofRoute: Self.routeID))
  }
}
