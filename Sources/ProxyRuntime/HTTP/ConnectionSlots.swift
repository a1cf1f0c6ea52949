import DequeModule
import ProxyCore

/// A place among the connections that a circuit breaker allows; given back once.
final class ConnectionSlot {
  private let limits: CircuitLimits
  private weak var cluster: Cluster?
  private var isHeld = true
  private var isIdle = false

  fileprivate init(_ limits: CircuitLimits, _ cluster: Cluster) {
    self.limits = limits
    self.cluster = cluster
  }

  func isOf(_ cluster: Cluster) -> Bool { self.cluster === cluster }

  /// The connection serves whoever waits for one.
  func becameIdle() {
    isIdle = true
    cluster?.slots.idleCount += 1
    cluster?.wakeWaiter()
  }

  func becameBusy() {
    guard isIdle else { return }
    isIdle = false
    cluster?.slots.idleCount -= 1
  }

  /// Also where its connection never came to be.
  deinit { release() }

  func release() {
    guard isHeld else { return }
    yield()
    cluster?.wakeWaiter()
  }

  /// Gives the place back to the caller, whoever else waits for one.
  func yield() {
    guard isHeld else { return }
    isHeld = false
    becameBusy()
    limits.release(.connections)
  }
}

/// A request that waits for a connection.
final class ConnectionWaiter {
  private let limits: CircuitLimits
  private var wake: (() -> Void)?

  fileprivate init(_ limits: CircuitLimits, _ wake: @escaping () -> Void) {
    self.limits = limits
    self.wake = wake
  }

  fileprivate var isWaiting: Bool { wake != nil }

  fileprivate func ring() {
    let wake = wake
    cancel()
    wake?()
  }

  func cancel() {
    guard wake != nil else { return }
    wake = nil
    limits.release(.pending)
  }
}

/// Who may open a connection to a cluster, and who waits.
struct ConnectionSlots {
  private static let waitingBound = 4096

  /// Of the connections those without a request.
  fileprivate(set) var idleCount = 0
  private var waiting: Deque<ConnectionWaiter> = []

  /// nil: as many are open as the breaker allows.
  func take(_ limits: CircuitLimits, _ cluster: Cluster) -> ConnectionSlot? {
    limits.tryAcquire(.connections) ? ConnectionSlot(limits, cluster) : nil
  }

  /// nil: as many wait as may.
  mutating func wait(_ limits: CircuitLimits, _ wake: @escaping () -> Void) -> ConnectionWaiter? {
    while let first = waiting.first, !first.isWaiting { waiting.removeFirst() }
    guard waiting.count < Self.waitingBound, limits.tryAcquire(.pending) else { return nil }
    let waiter = ConnectionWaiter(limits, wake)
    waiting.append(waiter)
    return waiter
  }

  /// The one that has waited longest.
  fileprivate mutating func next() -> ConnectionWaiter? {
    while let first = waiting.popFirst() {
      if first.isWaiting { return first }
    }
    return nil
  }
}

extension Cluster {
  /// A connection is free, or may be opened. Rung outside of the list, since who is woken may wait again.
  func wakeWaiter() { slots.next()?.ring() }
}
