import MeshModel
import Synchronization
import Testing

@testable import ProxyCore

@Suite struct CircuitLimitsTests {
  @Test(arguments: CircuitLimits.Resource.allCases) func eachHasItsOwnLimit(resource: CircuitLimits.Resource) {
    let limits = CircuitLimits(CircuitBreaker(maxConnections: 2, maxPending: 3, maxRequests: 4, maxRetries: 5))
    let most = [.connections: 2, .pending: 3, .requests: 4, .retries: 5][resource]!
    for _ in 0..<most { #expect(limits.tryAcquire(resource)) }
    #expect(!limits.tryAcquire(resource))
    #expect(limits.count(of: resource) == most)
    for other in CircuitLimits.Resource.allCases where other != resource { #expect(limits.tryAcquire(other)) }
    limits.release(resource)
    #expect(limits.tryAcquire(resource))
    #expect(!limits.tryAcquire(resource))
  }

  @Test func aLowerLimitHoldsAtOnce() {
    let limits = CircuitLimits()
    for _ in 0..<100 { #expect(limits.tryAcquire(.requests)) }
    limits.update(CircuitBreaker(maxRequests: 50))
    for _ in 0..<51 {
      #expect(!limits.tryAcquire(.requests))
      limits.release(.requests)
    }
    #expect(limits.tryAcquire(.requests))
    limits.update(CircuitBreaker(maxRequests: 0))
    #expect(!limits.tryAcquire(.requests))
  }

  /// Four workers at once: what they hold together, counted by themselves, is never above the limit.
  @Test func neverExceeded() async {
    final class Held: Sendable {
      let now = Atomic<Int>(0)
      let most = Atomic<Int>(0)
    }
    let limits = CircuitLimits(CircuitBreaker(maxRequests: 7))
    let held = Held()
    await withTaskGroup(of: Void.self) { group in
      for worker in 0..<4 as Range<UInt64> {
        group.addTask {
          var random = SeededRandom(state: worker)
          var own = 0
          for _ in 0..<20_000 {
            if random.next() % 2 == 0 {
              guard limits.tryAcquire(.requests) else { continue }
              own += 1
              held.most.max(held.now.add(1, ordering: .relaxed).newValue, ordering: .relaxed)
            } else if own > 0 {
              own -= 1
              held.now.subtract(1, ordering: .relaxed)
              limits.release(.requests)
            }
          }
          for _ in 0..<own {
            held.now.subtract(1, ordering: .relaxed)
            limits.release(.requests)
          }
        }
      }
    }
    #expect(limits.count(of: .requests) == 0)
    #expect((1...7).contains(held.most.load(ordering: .relaxed)))
  }
}
