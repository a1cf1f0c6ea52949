import CLinux
import DequeModule
import Glibc
import MeshModel
import ProxyCore

/// Unconnected sockets inside one pod's network namespace, of one kind, for one worker. They come in batches from the
/// agent, ahead of need; a socket whose connection ended cleanly is dissolved and kept, so that connections go on
/// being made while no agent is there.
final class SocketPool {
  static let bound = 256
  private static let lowWater = 16
  private static let smallestRequest = 32
  private static let largestRequest = 128
  private static let waitersBound = 4096
  /// A request may be lost with the agent that it went to: after this time it's made again.
  private static let requestTimeout: NanoTime = .milliseconds(500)

  struct Waiter {
    let deadline: NanoTime
    let body: (Int32?) -> Void
  }

  private var free: [Int32] = []
  private var waiters: Deque<Waiter> = []
  private var requestedAt: NanoTime?
  private var nextRequest = SocketPool.smallestRequest
  private var isClosed = false
  private let request: (Int) -> Void

  /// - Parameter request: asks the agent for so many sockets; the answer comes by `add`.
  init(request: @escaping (Int) -> Void) { self.request = request }

  var count: Int { free.count }

  /// Calls `body` with a socket, at once where one is there; nil when none came in time.
  func take(now: NanoTime, timeout: NanoTime = .seconds(5), _ body: @escaping (Int32?) -> Void) {
    guard !isClosed else { return body(nil) }
    if let fd = free.popLast() {
      if free.count < Self.lowWater { askForMore(now: now) }
      return body(fd)
    }
    guard waiters.count < Self.waitersBound else { return body(nil) }
    waiters.append(Waiter(deadline: now + timeout, body: body))
    askForMore(now: now)
  }

  private func askForMore(now: NanoTime) {
    if let requestedAt, now < requestedAt + Self.requestTimeout { return }
    requestedAt = now
    request(nextRequest)
  }

  func add(_ sockets: [Int32], now: NanoTime) {
    guard !isClosed else {
      for fd in sockets { close(fd) }
      return
    }
    if requestedAt != nil {
      requestedAt = nil
      // Demand outran the last batch: the next is larger.
      nextRequest = waiters.isEmpty ? Self.smallestRequest : min(nextRequest * 2, Self.largestRequest)
    }
    for fd in sockets { keep(fd) }
    if !waiters.isEmpty { askForMore(now: now) }
  }

  /// A socket whose connection has ended, taken out of its loop.
  func giveBack(_ fd: Int32) {
    let hasFailed = Socket.isUnconnected(fd)
    // What the peer hasn't acknowledged would be dropped with the association: then the kernel finishes alone.
    guard !isClosed, free.count < Self.bound, hasFailed || weft_unacknowledged(fd) == 0, Socket.disconnect(fd) else {
      close(fd)
      return
    }
    if hasFailed { Socket.forgetErrors(fd) }
    keep(fd)
  }

  /// A socket that is to be reset: dissolving a living association sends the RST (RFC 9293 §3.10.7.4), and the socket
  /// serves again, so that resets don't use up what was passed while no agent is there.
  func giveBackReset(_ fd: Int32) {
    guard !isClosed, free.count < Self.bound, Socket.disconnect(fd) else { return Socket.closeByReset(fd) }
    Socket.forgetErrors(fd)
    keep(fd)
  }

  private func keep(_ fd: Int32) {
    if let waiter = waiters.popFirst() {
      waiter.body(fd)
    } else if free.count < Self.bound {
      free.append(fd)
    } else {
      close(fd)
    }
  }

  /// Fails those that waited too long; an agent that didn't answer is asked again while somebody waits.
  func expire(now: NanoTime) {
    while let first = waiters.first, first.deadline <= now {
      waiters.removeFirst()
      first.body(nil)
    }
    if !waiters.isEmpty { askForMore(now: now) }
  }

  func closeAll() {
    isClosed = true
    for fd in free { close(fd) }
    free = []
    let waiting = waiters
    waiters = []
    for waiter in waiting { waiter.body(nil) }
  }
}
