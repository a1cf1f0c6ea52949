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

  /// Whether its connection may be kept for later requests: not where another event loop waits for a place, more are
  /// taken than the limit is now, or other limits hold than those that count it.
  var mayIdle: Bool {
    guard let cluster, !cluster.isRetired, cluster.policy.limits === limits else { return false }
    let room = limits.room(for: .connections)
    return room > 0 || room == 0 && (limits.count(of: .pending) == 0 || cluster.slots.hasWaiters)
  }

  /// The connection serves whoever waits for one.
  func becameIdle() {
    guard !isIdle, isHeld else { return }
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

/// Somebody who waits for a place, until there may be one, patience ends, or it is cancelled.
final class ConnectionWaiter {
  enum Outcome {
    /// Another may have been quicker.
    case mayOpen
    case gaveUp
  }

  private let limits: CircuitLimits
  private let isPending: Bool
  private var alarm: Alarm?
  private var settled: ((Outcome) -> Void)?

  fileprivate init(_ limits: CircuitLimits, isPending: Bool, _ settled: @escaping (Outcome) -> Void) {
    self.limits = limits
    self.isPending = isPending
    self.settled = settled
  }

  fileprivate func giveUp(after patience: NanoTime, _ loop: EventLoop) {
    alarm = loop.after(patience) { [unowned self] in settle(.gaveUp) }
  }

  fileprivate var isWaiting: Bool { settled != nil }

  fileprivate func settle(_ outcome: Outcome) {
    let settled = settled
    cancel()
    settled?(outcome)
  }

  func cancel() {
    guard settled != nil else { return }
    settled = nil
    alarm?.cancel()
    alarm = nil
    if isPending { limits.release(.pending) }
  }
}

/// Who waits for a connection to a cluster, on this event loop.
struct ConnectionSlots {
  fileprivate static let waitingBound = 4096

  /// Of the connections those without a request.
  fileprivate(set) var idleCount = 0
  fileprivate var waiting: Deque<ConnectionWaiter> = []
  fileprivate var lookout: Alarm?
  /// Calls of `wakeWaiter` that haven't been answered.
  fileprivate var calls = 0

  fileprivate var hasWaiters: Bool { waiting.contains { $0.isWaiting } }

  /// The one that has waited longest.
  fileprivate mutating func next() -> ConnectionWaiter? {
    while let first = waiting.popFirst() {
      if first.isWaiting { return first }
    }
    return nil
  }
}

extension Cluster {
  /// Places are given back on other event loops too, which say nothing here.
  private static let lookoutInterval: NanoTime = .milliseconds(5)

  /// nil: as many are open as the breaker allows.
  func takeSlot() -> ConnectionSlot? {
    let limits = policy.limits
    return limits.tryAcquire(.connections) ? ConnectionSlot(limits, self) : nil
  }

  /// nil: as many wait as may.
  /// - Parameter isPending: it counts as a request that waits; not where those who do are counted themselves.
  func waitForSlot(
    isPending: Bool = true, patience: NanoTime, _ loop: EventLoop,
    _ settled: @escaping (ConnectionWaiter.Outcome) -> Void
  ) -> ConnectionWaiter? {
    let limits = policy.limits
    if slots.waiting.count >= ConnectionSlots.waitingBound { slots.waiting.removeAll { !$0.isWaiting } }
    guard slots.waiting.count < ConnectionSlots.waitingBound, !isPending || limits.tryAcquire(.pending) else {
      return nil
    }
    let waiter = ConnectionWaiter(limits, isPending: isPending, settled)
    waiter.giveUp(after: patience, loop)
    slots.waiting.append(waiter)
    lookOut(loop)
    return waiter
  }

  /// A connection is free, or may be opened. Called outside of the list, since who is woken may wait again; one after the
  /// other, since who can't use the place gives it back at once.
  func wakeWaiter() {
    slots.calls += 1
    guard slots.calls == 1 else { return }
    while slots.calls > 0 {
      slots.next()?.settle(.mayOpen)
      slots.calls -= 1
    }
  }

  private func lookOut(_ loop: EventLoop) {
    guard slots.lookout == nil, slots.hasWaiters else { return }
    slots.lookout = loop.after(Self.lookoutInterval) { [weak self, unowned loop] in
      guard let self else { return }
      slots.lookout = nil
      for _ in 0..<max(0, min(policy.limits.room(for: .connections), slots.waiting.count)) { wakeWaiter() }
      lookOut(loop)
    }
  }

  /// Whether an idle connection of its should end: its place is wanted on another event loop, or there are more than may
  /// be.
  var owesSlot: Bool {
    guard slots.idleCount > 0 else { return false }
    let room = policy.limits.room(for: .connections)
    return room < 0 || room == 0 && policy.limits.count(of: .pending) > 0 && !slots.hasWaiters
  }
}
