import MeshModel
import Synchronization

/// The circuit breaker of a Service's port: how much may be open or under way at once, on the whole node. Shared by its
/// workers without a lock; no limit is ever exceeded, not for a moment.
public final class CircuitLimits: Sendable {
  public enum Resource: Sendable, Hashable, CaseIterable {
    case connections
    /// Requests that wait for a connection.
    case pending
    case requests
    case retries
  }

  private struct Gauge: ~Copyable {
    let count = Atomic<Int>(0)
    let limit = Atomic<Int>(.max)
  }

  private let connections = Gauge()
  private let pending = Gauge()
  private let requests = Gauge()
  private let retries = Gauge()

  public init(_ breaker: CircuitBreaker? = nil) { update(breaker) }

  /// New limits hold at once; what is over them now ends by itself.
  public func update(_ breaker: CircuitBreaker?) {
    let value = { (limit: UInt32?) in limit.map(Int.init) ?? .max }
    connections.limit.store(value(breaker?.maxConnections), ordering: .relaxed)
    pending.limit.store(value(breaker?.maxPending), ordering: .relaxed)
    requests.limit.store(value(breaker?.maxRequests), ordering: .relaxed)
    retries.limit.store(value(breaker?.maxRetries), ordering: .relaxed)
  }

  /// Takes one, which `release` gives back; false: the limit is reached.
  public func tryAcquire(_ resource: Resource) -> Bool {
    switch resource {
    case .connections: Self.tryAcquire(connections)
    case .pending: Self.tryAcquire(pending)
    case .requests: Self.tryAcquire(requests)
    case .retries: Self.tryAcquire(retries)
    }
  }

  public func release(_ resource: Resource) {
    let old =
      switch resource {
      case .connections: connections.count.subtract(1, ordering: .relaxed).oldValue
      case .pending: pending.count.subtract(1, ordering: .relaxed).oldValue
      case .requests: requests.count.subtract(1, ordering: .relaxed).oldValue
      case .retries: retries.count.subtract(1, ordering: .relaxed).oldValue
      }
    precondition(old > 0, "released what wasn't acquired")
  }

  /// How many more may be taken; below 0 where the limit has been lowered meanwhile. Others take and give at the same
  /// time: `tryAcquire` decides.
  public func room(for resource: Resource) -> Int {
    let limit =
      switch resource {
      case .connections: connections.limit.load(ordering: .relaxed)
      case .pending: pending.limit.load(ordering: .relaxed)
      case .requests: requests.limit.load(ordering: .relaxed)
      case .retries: retries.limit.load(ordering: .relaxed)
      }
    return limit - count(of: resource)
  }

  public func count(of resource: Resource) -> Int {
    switch resource {
    case .connections: connections.count.load(ordering: .relaxed)
    case .pending: pending.count.load(ordering: .relaxed)
    case .requests: requests.count.load(ordering: .relaxed)
    case .retries: retries.count.load(ordering: .relaxed)
    }
  }

  private static func tryAcquire(_ gauge: borrowing Gauge) -> Bool {
    let limit = gauge.limit.load(ordering: .relaxed)
    var count = gauge.count.load(ordering: .relaxed)
    while count < limit {
      let result = gauge.count.weakCompareExchange(expected: count, desired: count + 1, ordering: .relaxed)
      if result.exchanged { return true }
      count = result.original
    }
    return false
  }
}
