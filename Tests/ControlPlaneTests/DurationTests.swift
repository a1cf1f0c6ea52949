import MeshModel
import Testing

@testable import ControlPlane

/// GEP-2257 in routes, Go's durations in policies: as long as their milliseconds fit.
@Suite struct DurationTests {
  @Test func longOnesInRoutes() throws {
    let rule = try decodeRoute(
      routeYAML("  rules: [{timeouts: {request: 1193h, backendRequest: 99999s99999ms}, retry: {backoff: 1193h}}]")
    ).rules[0]
    #expect(rule.requestTimeout == TrafficTime.maximum && rule.backendRequestTimeout == 100_098_999)
    #expect(rule.retry?.backoff == TrafficTime.maximum && rule.retry?.maximumBackoff == TrafficTime.maximum)
  }

  @Test func longOnesInPolicies() throws {
    let (object, _) = try decodeOne(
      """
      apiVersion: weft.dev/v1alpha1
      kind: TrafficPolicy
      metadata: {name: p, namespace: shop}
      spec:
        targetRefs: [{kind: Service, name: cart}]
        timeouts: {request: 1193h, idle: 24h}
        retry: {backoff: 500h}
        rateLimits: [{requests: 1000, interval: 24h}]
        outlierDetection: {baseEjectionTime: 2h}
      """)
    guard case .trafficPolicy(let policy) = object else { return #expect(Bool(false), "not a policy") }
    #expect(policy.policy.timeouts == Timeouts(request: TrafficTime.maximum, idle: 86_400_000))
    #expect(policy.policy.retry?.maximumBackoff == TrafficTime.maximum)
    #expect(policy.policy.rateLimits.first?.interval == 86_400_000)
    #expect(policy.policy.outlierDetection?.maximumEjectionTime == 7_200_000)
  }
}
