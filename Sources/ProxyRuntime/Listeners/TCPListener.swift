import CLinux
import Glibc
import MeshModel
import ProxyCore

/// Accepts on a listening socket that the agent opened inside a pod's namespace. Several workers may watch one
/// socket: the kernel wakes one of them (EPOLLEXCLUSIVE).
final class TCPListener: EventSource, PodListener, Timed {
  private static let acceptsPerTurn = 64

  private let loop: EventLoop
  private let accepted: (Int32, SocketAddress) -> Void
  private let report: (String) -> Void
  private var resumesAt: NanoTime = 0
  private var isStopped = false

  init(
    fd: Int32, loop: EventLoop, report: @escaping (String) -> Void, accepted: @escaping (Int32, SocketAddress) -> Void
  ) throws(SystemError) {
    self.loop = loop
    self.report = report
    self.accepted = accepted
    super.init(fd: fd)
    try watch()
  }

  private func watch() throws(SystemError) {
    try loop.add(self, events: EPOLLIN.rawValue | EPOLLEXCLUSIVE.rawValue)
  }

  override func handle(_ events: UInt32) {
    for _ in 0..<Self.acceptsPerTurn where !isStopped {
      let (fd, peer) = Socket.accept(self.fd)
      if fd >= 0 {
        guard let peer else {
          close(fd)
          continue
        }
        accepted(fd, peer)
        continue
      }
      switch -fd {
      case EMFILE, ENFILE, ENOBUFS, ENOMEM:
        // The connection waits in the backlog; asking again at once would only spin.
        report("can't accept: \(String(cString: strerror(-fd))); trying again in 100 ms")
        loop.remove(self)
        resumesAt = loop.now + .milliseconds(100)
        loop.startTimer(self)
        return
      case ECONNABORTED, EINTR, EPROTO, EPERM: continue
      default: return
      }
    }
  }

  func timerFired(now: NanoTime) {
    guard now >= resumesAt else { return }
    loop.stopTimer(self)
    do { try watch() } catch { report("\(error)") }
  }

  /// What the kernel has woken this worker for is nobody else's to accept (EPOLLEXCLUSIVE).
  func stopAccepting() {
    guard !isStopped else { return }
    loop.remove(self)
    handle(EPOLLIN.rawValue)
    stop()
  }

  func stop() {
    guard !isStopped else { return }
    isStopped = true
    loop.stopTimer(self)
    // The agent holds the same socket: closing this descriptor would leave it in epoll.
    loop.remove(self)
    close(fd)
  }
}
