import MeshModel
import ProxyCore
import Testing

@testable import ProxyRuntime

extension RuntimeTests {
  /// Policies of a route, of the Services that it leads to, and of single clients, each where it holds.
  @Suite struct RoutePolicyTests {
    /// `/r` by the route of that name, `/s` by another, both to the same Service.
    private static func routes(to service: String) -> [Route] {
      [
        .web([.to(service, path: "/r")], name: "r"),
        .web([.to(service, path: "/s")], name: "s"),
      ]
    }

    /// One request by that path is under way; whether another one is refused.
    private func isLimited(_ lab: HTTPLab, _ service: String, _ path: String) throws -> Bool {
      let (first, second) = (try lab.connect(), try lab.connect())
      defer {
        first.close()
        second.close()
      }
      try first.get("\(path)/1")
      let backend = try service == "web" ? lab.accept() : lab.accept(service)
      _ = try backend.read()
      try second.get("\(path)/2")
      var isRefused = true
      if second.isSilent(for: 200) {
        isRefused = false
        let other = try service == "web" ? lab.accept() : lab.accept(service)
        _ = try other.read()
        // Not kept: the next time it is dialled again.
        try other.respond(200, "fine", "Connection: close")
        #expect(try second.read().text == "fine")
      } else {
        #expect(try second.read().isRefusal(503, "UO"))
      }
      try backend.respond(200, "fine", "Connection: close")
      #expect(try first.read().text == "fine")
      return isRefused
    }

    @Test func aRoutesBreaker() throws {
      let lab = try HTTPLab(
        others: ["other"], routes: Self.routes(to: "other"),
        policies: [.of(route: "r") { $0.circuitBreaker = CircuitBreaker(maxRequests: 1) }])
      #expect(try isLimited(lab, "other", "/r"))
      #expect(try !isLimited(lab, "other", "/s"))
      try lab.finish()
    }

    @Test func aBackendsOwnBreaker() throws {
      let lab = try HTTPLab(
        others: ["other"], routes: Self.routes(to: "other"),
        policies: [
          .web { _ in }, .of("other") { $0.circuitBreaker = CircuitBreaker(maxRequests: 1) },
        ])
      #expect(try isLimited(lab, "other", "/r"))
      #expect(try eventually { try lab.count(.requests, of: "other") == 0 })
      try lab.finish()
    }

    /// Said for a client's namespace later, of the backend alone.
    @Test func aClientsBreakerAtABackend() throws {
      let lab = try HTTPLab(others: ["other"], routes: Self.routes(to: "other"), policies: [.web { _ in }])
      #expect(try !isLimited(lab, "other", "/r"))
      try lab.use(.of("other", clients: ["shop"]) { $0.circuitBreaker = CircuitBreaker(maxRequests: 1) })
      #expect(try isLimited(lab, "other", "/r"))
      try lab.use(.of("other", clients: ["elsewhere"]) { $0.circuitBreaker = CircuitBreaker(maxRequests: 1) })
      #expect(try !isLimited(lab, "other", "/r"))
      try lab.finish()
    }

    enum Bound: CaseIterable { case none, backendsRetries, backendsBudget, routesBudget }

    @Test(arguments: Bound.allCases) func retries(bound: Bound) throws {
      var policies: [TrafficPolicy] = [
        .web { $0.retry = RetryPolicy(attempts: 1, statuses: [503], backoff: 1, maximumBackoff: 2) }
      ]
      let empty = RetryBudget(percent: 0, minimumRate: 0)
      switch bound {
      case .none: break
      case .backendsRetries: policies.append(.of("other") { $0.circuitBreaker = CircuitBreaker(maxRetries: 0) })
      case .backendsBudget: policies.append(.of("other") { $0.retryBudget = empty })
      case .routesBudget: policies.append(.of(route: "r") { $0.retryBudget = empty })
      }
      let lab = try HTTPLab(others: ["other"], routes: Self.routes(to: "other"), policies: policies)
      let client = try lab.connect()
      let other = try #require(lab.others["other"])
      let serving = serve(other, as: "busy", status: 503)
      for _ in 0..<5 {
        #expect(try client.ask("/r").status == 503)
        #expect(try client.ask("/s").status == 503)
      }
      let retries = try lab.node.on { $0.statistics.retries }
      #expect(retries == (bound == .none ? 10 : bound == .routesBudget ? 5 : 0))
      client.close()
      try stop([other], [serving])
      try lab.finish(threads: 1)
    }

    /// What a route's clients found out keeps them away, and nobody else.
    @Test func aRoutesOutliers() throws {
      let lab = try HTTPLab(
        backends: 2, routes: Self.routes(to: "web"),
        policies: [
          .of(route: "r") {
            $0.loadBalancer = LoadBalancer(algorithm: .roundRobin)
            $0.outlierDetection = OutlierDetection(
              consecutiveErrors: 1, baseEjectionTime: 60_000, maximumEjectionPercent: 50)
          },
          .web { $0.loadBalancer = LoadBalancer(algorithm: .roundRobin) },
        ])
      let origin = LabOrigin(lab) { .answer($0.endpoint == 1 ? 500 : 200) }
      let client = try lab.connect()
      let byRoute = try (0..<12).map { _ in try client.ask("/r").status }
      #expect(byRoute.count { $0 == 500 } == 1)
      let byOther = try (0..<12).map { _ in try client.ask("/s").status }
      #expect(byOther.count { $0 == 500 } == 6)
      client.close()
      origin.stop()
      try lab.finish()
    }

    @Test func aRoutesBalancer() throws {
      let lab = try HTTPLab(
        backends: 4, routes: Self.routes(to: "web"),
        policies: [
          .of(route: "r") { $0.loadBalancer = LoadBalancer(algorithm: .maglev(.header("x-user"))) },
          .web { $0.loadBalancer = LoadBalancer(algorithm: .roundRobin) },
        ])
      let origin = LabOrigin(lab)
      let client = try lab.connect()
      func endpoints(_ path: String) throws -> Set<Int?> {
        var seen: Set<Int?> = []
        for _ in 0..<8 {
          try client.get(path, "X-User: a")
          seen.insert(try client.read().endpoint)
        }
        return seen
      }
      #expect(try endpoints("/r").count == 1)
      #expect(try endpoints("/s").count == 4)
      client.close()
      origin.stop()
      try lab.finish()
    }
  }
}
