import MeshModel

/// The settings that hold, with the defaults filled in, and what is counted by them.
public final class EffectivePolicy: Sendable {
  /// An idle timeout that was turned off.
  private static let never: NanoTime = .seconds(10 * 365 * 86_400)

  /// 0: none.
  public let requestTimeout: NanoTime
  public let perTryTimeout: NanoTime
  public let idleTimeout: NanoTime
  public let connectTimeout: NanoTime
  public let loadBalancer: LoadBalancer
  public let retry: RetryPolicy?
  public let hedging: Hedging?
  public let outlierDetection: OutlierDetection?
  public let faults: [Fault]
  public let locality: Locality?
  public let sessionPersistence: SessionPersistence?
  public let headers: HeaderOptions
  /// Shared by the node's workers.
  public let limits: CircuitLimits
  public let budget: SharedRetryBudget
  /// nil: none.
  public let adaptiveLimit: AdaptiveLimit?
  public let buckets: [TokenBuckets]

  /// - Parameters:
  ///   - policies: the most specific first.
  ///   - defaults: what is counted where no policy says a limit.
  init(
    _ policies: [(policy: TrafficPolicy, counters: PolicyCounters)] = [],
    defaults: (limits: CircuitLimits, budget: SharedRetryBudget) = (CircuitLimits(), SharedRetryBudget())
  ) {
    func first<Value>(_ value: (TrafficPolicy) -> Value?) -> Value? {
      for (policy, _) in policies { if let found = value(policy) { return found } }
      return nil
    }
    func counted<Value>(_ value: (PolicyCounters) -> Value?) -> Value? {
      for (_, counters) in policies { if let found = value(counters) { return found } }
      return nil
    }
    func time(_ milliseconds: UInt32?, default seconds: UInt64) -> NanoTime {
      milliseconds.map { .milliseconds(UInt64($0)) } ?? .seconds(seconds)
    }
    requestTimeout = time(first { $0.timeouts.request }, default: 0)
    perTryTimeout = time(first { $0.timeouts.perTry }, default: 0)
    let idle = time(first { $0.timeouts.idle }, default: 3600)
    idleTimeout = idle == 0 ? Self.never : idle
    let connect = time(first { $0.timeouts.connect }, default: 5)
    // An attempt without an end would hold its request for ever.
    connectTimeout = connect == 0 ? .seconds(5) : connect
    loadBalancer = first { $0.loadBalancer } ?? LoadBalancer()
    retry = first { $0.retry }
    hedging = first { $0.hedging }
    outlierDetection = first { $0.outlierDetection }
    faults = first { $0.faults.isEmpty ? nil : $0.faults } ?? []
    locality = first { $0.locality }
    sessionPersistence = first { $0.sessionPersistence }
    headers = first { $0.headers } ?? HeaderOptions()
    limits = counted { $0.limits } ?? defaults.limits
    budget = counted { $0.budget } ?? defaults.budget
    adaptiveLimit = counted { $0.adaptiveLimit }
    buckets = counted { $0.buckets.isEmpty ? nil : $0.buckets } ?? []
  }

  /// Where nothing is said.
  public convenience init() { self.init([]) }
}
