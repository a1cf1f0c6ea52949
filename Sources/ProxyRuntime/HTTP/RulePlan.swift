import MeshModel
import ProxyCore

/// A rule as it is carried out.
final class RulePlan {
  let rule: CompiledRule?
  let policy: EffectivePolicy
  /// 0: none.
  let requestTimeout: NanoTime
  let perTryTimeout: NanoTime
  let retry: RetryPolicy?
  /// nil: requests have no sessions.
  let sessions: SessionKeeper?
  let faults: FaultInjector?
  /// Of the faults whose condition is one.
  let faultPatterns: [RegularExpression?]
  var hedger: Hedger?
  /// Of the route's id.
  let routeHash: UInt64
  private let view: ServiceView.Key
  private let identity: SPIFFEID?
  /// In the order of the rule's backends; nil where a backend is invalid.
  private var clusters: [Cluster?] = []
  private var epoch: UInt64 = .max

  /// - Parameter rule: nil: requests go to the Service itself.
  init(rule: CompiledRule?, policy: EffectivePolicy, view: ServiceView.Key, identity: SPIFFEID?) {
    self.rule = rule
    self.policy = policy
    self.view = view
    self.identity = identity
    func time(_ own: UInt32?, _ policy: NanoTime) -> NanoTime {
      own.map { .milliseconds(UInt64($0)) } ?? policy
    }
    requestTimeout = time(rule?.rule.requestTimeout, policy.requestTimeout)
    perTryTimeout = time(rule?.rule.backendRequestTimeout, policy.perTryTimeout)
    hedger = policy.hedging.map { Hedger($0) }
    faultPatterns = policy.faults.map { fault in
      guard let header = fault.header, header.isRegularExpression else { return nil }
      return try? RegularExpression(header.value)
    }
    faults = policy.faults.isEmpty ? nil : FaultInjector(policy.faults)
    routeHash = StableHash.hash(rule?.routeID ?? "")
    retry = rule?.rule.retry ?? policy.retry
    // A rule's sessions are its own also where a policy says how (GEP-1619).
    sessions = (rule?.rule.sessionPersistence ?? policy.sessionPersistence).map {
      SessionKeeper($0, rule: rule, service: view.service, port: view.port)
    }
  }

  /// A backend's endpoints, as the present snapshot has them; nil where the backend is invalid.
  func cluster(_ backend: Int, _ worker: Worker) -> Cluster? {
    if epoch != worker.epoch {
      epoch = worker.epoch
      clusters = resolve(worker)
    }
    return clusters[backend]
  }

  private func resolve(_ worker: Worker) -> [Cluster?] {
    guard let rule else { return [worker.cluster(view.service, view.port, view.family, client: identity)] }
    let route = Cluster.Key.Route(id: rule.routeID, service: view.service, port: view.port)
    return rule.rule.backends.map { backend in
      backend.invalid.isEmpty
        ? worker.cluster(backend.service, backend.port, view.family, client: identity, route: route) : nil
    }
  }
}
