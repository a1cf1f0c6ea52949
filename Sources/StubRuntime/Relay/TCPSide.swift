import CLinux
import CStub
import Glibc
import StubCore

/// A side that is a socket of the kernel.
final class TCPSide: EventSource, Side {
  weak var session: Session?
  private let loop: Loop
  /// Called once with errno, or 0 when it is connected; nil afterwards and for an accepted socket.
  private var onConnected: ((Int32) -> Void)?
  private var pending = ByteQueue()
  private var mayRead = true
  private var isReading = false
  private var hasStarted = false
  private var hasEnded = false
  private var isFinishing = false
  private var isShut = false
  private var isOver = false
  private var peerHasEnded = false
  private let deadline: Int64
  private static let readsPerTurn = 8
  static let connectSeconds: Int64 = 5

  /// Owns the descriptor, also where it throws.
  init(fd: Int32, loop: Loop, onConnected: ((Int32) -> Void)? = nil) throws(SystemFailure) {
    self.loop = loop
    self.onConnected = onConnected
    deadline = loop.now + Self.connectSeconds * 1_000_000_000
    super.init(fd: fd)
    do {
      try loop.add(self)
    } catch {
      Glibc.close(fd)
      throw error
    }
  }

  var isBlocked: Bool { !pending.isEmpty }
  var isDone: Bool { isOver || (hasEnded && isShut) }

  func write(_ bytes: UnsafeRawBufferPointer) {
    guard !isOver, !isFinishing else { return }
    var sent = 0
    if pending.isEmpty, onConnected == nil {
      sent = send(bytes)
      guard sent >= 0 else { return }
    }
    if sent < bytes.count { pending.append(UnsafeRawBufferPointer(rebasing: bytes[sent...])) }
  }

  /// Below 0: the connection is broken, and the session is told.
  private func send(_ bytes: UnsafeRawBufferPointer) -> Int {
    while !bytes.isEmpty {
      let sent = Glibc.send(fd, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
      if sent >= 0 { return sent }
      if errno == EAGAIN { return 0 }
      guard errno == EINTR else {
        fail()
        return -1
      }
    }
    return 0
  }

  func finish() {
    isFinishing = true
    shutIfDue()
  }

  private func shutIfDue() {
    guard isFinishing, pending.isEmpty, !isShut, !isOver, onConnected == nil else { return }
    isShut = true
    shutdown(fd, Int32(SHUT_WR))
    closeIfDone()
  }

  private func closeIfDone() {
    guard hasEnded, isShut, !isOver else { return }
    isOver = true
    loop.close(self)
  }

  func reset() {
    guard !isOver else { return }
    isOver = true
    onConnected = nil
    stub_reset_on_close(fd)
    pending.clear()
    loop.close(self)
  }

  private func fail() {
    session?.close()
    reset()
  }

  override func handle(_ events: UInt32) {
    if let onConnected {
      guard events & (EPOLLOUT.rawValue | EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 else { return }
      let code = stub_socket_error(fd)
      guard code == 0 else {
        reset()
        return onConnected(code)
      }
      guard events & EPOLLHUP.rawValue == 0 else { return }
      self.onConnected = nil
      onConnected(0)
    }
    if events & (EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 { peerHasEnded = true }
    if events & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 {
      mayRead = true
      if hasStarted { receive() }
    }
    if events & EPOLLOUT.rawValue != 0, !pending.isEmpty || isFinishing { flush() }
  }

  private func flush() {
    guard !isOver, onConnected == nil else { return }
    if !pending.isEmpty {
      var isBroken = false
      pending.take { bytes in
        let sent = send(bytes)
        isBroken = sent < 0
        return max(0, sent)
      }
      guard !isBroken, pending.isEmpty else { return }
      session?.unblocked(self)
    }
    shutIfDue()
    session?.settle()
  }

  override func runInTick() {
    isReading = false
    receive()
  }

  override func sweep(now: Int64) {
    guard let onConnected, now > deadline else { return }
    reset()
    onConnected(ETIMEDOUT)
  }

  func read() {
    hasStarted = true
    // Not at once: the call may come out of the other side's own work.
    guard mayRead, !isReading else { return }
    isReading = true
    loop.schedule(self)
  }

  private func receive() {
    // What came with the connection, before it was joined.
    if onConnected == nil, !pending.isEmpty { flush() }
    for _ in 0..<Self.readsPerTurn {
      guard mayRead, !hasEnded, !isOver, onConnected == nil, let session, !session.isBlocked(for: self) else { return }
      let count = recv(fd, loop.scratch.baseAddress, loop.scratch.count, 0)
      if count > 0 {
        session.received(UnsafeRawBufferPointer(rebasing: loop.scratch[..<count]), from: self, now: loop.now)
        // A short read has emptied the socket, unless the end is due as well.
        if count < loop.scratch.count, !peerHasEnded { mayRead = false }
      } else if count == 0 {
        hasEnded = true
        closeIfDone()
        session.ended(self)
      } else if errno == EAGAIN {
        mayRead = false
      } else if errno != EINTR {
        return fail()
      }
    }
    if mayRead, !hasEnded { read() }
  }
}
