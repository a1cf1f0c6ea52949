import CLinux
import Glibc
import struct NIOCore.ByteBuffer
import ProxyCore

/// A TCP socket in an event loop: edge-triggered, read through the loop's scratch buffer, so that an idle connection
/// holds no buffer at all.
final class TCPStream: EventSource, ByteStream, TickParticipant {
  /// Reads in a row before others get their turn.
  private static let readsPerTurn = 8

  var owner: (any StreamOwner)?
  var side = RelayState.Side.downstream

  private let loop: EventLoop
  /// Where the socket came from and may go back to.
  private let pool: SocketPool?
  private var pending = ByteBuffer()
  private var connected: ((StreamFailure?) -> Void)?
  private var isPaused = true
  /// The socket may hold bytes: no read has found it empty since the last event.
  private var isReadable = true
  private var isScheduled = false
  private var hasReadEnd = false
  private var peerHasEnded = false
  /// The socket's error, where a call has taken it: no event tells of it again.
  private var takenError: Int32 = 0
  private var wantsFinish = false
  private var hasFinished = false
  private var isClosed = false

  /// An accepted connection.
  init(fd: Int32, loop: EventLoop) throws(SystemError) {
    self.loop = loop
    pool = nil
    super.init(fd: fd)
    try loop.add(self, events: Socket.edgeTriggered)
  }

  /// A socket from `pool` that is connecting; `connected` is called once, from a later tick, unless `reset` comes first.
  init(fd: Int32, loop: EventLoop, pool: SocketPool, connected: @escaping (StreamFailure?) -> Void) throws(SystemError)
  {
    self.loop = loop
    self.pool = pool
    self.connected = connected
    super.init(fd: fd)
    try loop.add(self, events: Socket.edgeTriggered)
  }

  var isBlocked: Bool { pending.readableBytes > 0 }
  var isLeaving: Bool { false }

  override func handle(_ events: UInt32) {
    if connected != nil {
      settle(events)
      return
    }
    if events & EPOLLERR.rawValue != 0 {
      // What came before the reset is passed on first; recv ends with the error itself.
      isReadable = true
      read()
      if !isClosed { fail(Socket.pendingError(fd)) }
      return
    }
    if events & EPOLLOUT.rawValue != 0, isBlocked { flush() }
    guard !isClosed, events & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLHUP.rawValue) != 0 else { return }
    isReadable = true
    if events & (EPOLLRDHUP.rawValue | EPOLLHUP.rawValue) != 0 { peerHasEnded = true }
    read()
  }

  private func settle(_ events: UInt32) {
    guard events & (EPOLLOUT.rawValue | EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0, let connected else { return }
    let code = Socket.pendingError(fd)
    self.connected = nil
    // A reset means that there was a connection: what came before it is still to be read.
    if code == ECONNRESET { takenError = code }
    if code == ECONNRESET || code == 0 && events & EPOLLHUP.rawValue == 0 {
      // A server that answers and leaves at once says all of it in one event.
      if events & (EPOLLRDHUP.rawValue | EPOLLHUP.rawValue) != 0 { peerHasEnded = true }
      connected(nil)
    } else {
      close()
      connected(.system(code == 0 ? ECONNREFUSED : code))
    }
  }

  func write(_ bytes: UnsafeRawBufferPointer) {
    guard !isClosed, !bytes.isEmpty else { return }
    var sent = 0
    if !isBlocked {
      sent = send(fd, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
      if sent == bytes.count { return }
      if sent < 0 {
        guard errno == EAGAIN || errno == EINTR else { return breakLater(errno) }
        sent = 0
      }
    }
    pending.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[sent...]))
  }

  private func flush() {
    while pending.readableBytes > 0 {
      let sent = pending.withUnsafeReadableBytes { send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard sent > 0 else {
        if errno != EAGAIN, errno != EINTR { breakLater(errno) }
        return
      }
      pending.moveReaderIndex(forwardBy: sent)
    }
    pending = ByteBuffer()
    if wantsFinish { sendEnd() }
    owner?.unblocked(side)
  }

  /// The owner hears of a failed send from a later tick, never from within its own write.
  private func breakLater(_ code: Int32) {
    takenError = code
    scheduleRead()
  }

  func finish() {
    guard !isClosed, !wantsFinish else { return }
    wantsFinish = true
    if !isBlocked { sendEnd() }
  }

  private func sendEnd() {
    guard !hasFinished, takenError == 0 else { return }
    hasFinished = true
    shutdown(fd, Int32(SHUT_WR))
    owner?.finished(side)
  }

  func pause() { isPaused = true }

  func resume() {
    guard isPaused, !isClosed else { return }
    isPaused = false
    // Never read from within another's event: its bytes may lie in the scratch buffer.
    if isReadable { scheduleRead() }
  }

  private func scheduleRead() {
    guard !isScheduled else { return }
    isScheduled = true
    loop.schedule(self)
  }

  func runInTick() {
    isScheduled = false
    read()
    if takenError != 0 { fail(takenError) }
  }

  private func read() {
    var turns = Self.readsPerTurn
    while !isPaused, isReadable, !hasReadEnd, !isClosed {
      guard turns > 0 else {
        scheduleRead()
        return
      }
      turns -= 1
      let count = recv(fd, loop.scratch.baseAddress, loop.scratch.count, 0)
      if count > 0 {
        // A short read has emptied the socket, unless the end is due as well.
        if count < loop.scratch.count, !peerHasEnded { isReadable = false }
        owner?.received(UnsafeRawBufferPointer(rebasing: loop.scratch[..<count]), from: side)
      } else if count == 0 {
        if takenError != 0 { return fail(takenError) }
        hasReadEnd = true
        owner?.ended(side)
      } else if errno == EAGAIN {
        isReadable = false
      } else if errno != EINTR {
        fail(errno)
      }
    }
  }

  private func fail(_ code: Int32) {
    guard !isClosed else { return }
    let owner = owner
    reset()
    owner?.failed(side, code == ECONNRESET || code == EPIPE || code == 0 ? .reset : .system(code))
  }

  func close() {
    guard !isClosed else { return }
    isClosed = true
    owner = nil
    connected = nil
    pending = ByteBuffer()
    if let pool {
      loop.remove(self)
      pool.giveBack(fd)
    } else {
      loop.remove(self, closing: true)
      Glibc.close(fd)
    }
  }

  func reset() {
    guard !isClosed else { return }
    isClosed = true
    owner = nil
    connected = nil
    pending = ByteBuffer()
    if let pool {
      loop.remove(self)
      pool.giveBackReset(fd)
    } else {
      loop.remove(self, closing: true)
      Socket.closeByReset(fd)
    }
  }
}
