import struct NIOCore.ByteBuffer
import ProxyCore

/// One CONNECT stream of a tunnel, as a side of a session.
final class TunnelStream: ByteStream {
  var owner: (any StreamOwner)?
  var side = RelayState.Side.upstream

  let id: UInt32
  private unowned let tunnel: TunnelConnection
  private var pending = ByteBuffer()
  private var isPaused = true
  /// The session is joined: from its first resume on, bytes go straight through, also while paused, bounded by the
  /// stream's window. Before that they are held.
  private var hasStarted = false
  /// Received while paused: given back to the peer's window on resume.
  private var withheld = 0
  private var heldBytes = ByteBuffer()
  private var heldEnd = false
  private var wantsFinish = false
  private var hasFinished = false
  private var isClosed = false
  private var reportedBlocked = false

  init(id: UInt32, tunnel: TunnelConnection) {
    self.id = id
    self.tunnel = tunnel
  }

  var isBlocked: Bool {
    let blocked = pending.readableBytes > 0 || tunnel.isCongested
    if blocked { reportedBlocked = true }
    return blocked
  }

  var isLeaving: Bool { tunnel.takesNothingNew }

  func write(_ bytes: UnsafeRawBufferPointer) {
    guard !isClosed else { return }
    var sent = 0
    if pending.readableBytes == 0 { sent = tunnel.send(bytes, stream: id) }
    if sent < bytes.count { pending.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[sent...])) }
  }

  func finish() {
    guard !isClosed, !wantsFinish else { return }
    wantsFinish = true
    if pending.readableBytes == 0 { sendEnd() }
  }

  private func sendEnd() {
    guard !hasFinished else { return }
    hasFinished = true
    tunnel.finish(stream: id)
    owner?.finished(side)
  }

  func pause() { isPaused = true }

  func resume() {
    guard isPaused, !isClosed else { return }
    isPaused = false
    hasStarted = true
    if withheld > 0 {
      tunnel.consumed(withheld, stream: id)
      withheld = 0
    }
    deliverHeld()
  }

  private func deliverHeld() {
    if heldBytes.readableBytes > 0 {
      let bytes = heldBytes
      heldBytes = ByteBuffer()
      bytes.withUnsafeReadableBytes { deliver($0) }
    }
    if heldEnd {
      heldEnd = false
      owner?.ended(side)
    }
  }

  func close() {
    guard !isClosed else { return }
    isClosed = true
    owner = nil
    tunnel.streamClosed(id, reset: nil)
  }

  func reset() {
    guard !isClosed else { return }
    isClosed = true
    owner = nil
    tunnel.streamClosed(id, reset: .connectError)
  }

  // MARK: From the tunnel

  func received(_ bytes: UnsafeRawBufferPointer) {
    guard !isClosed else { return tunnel.consumed(bytes.count, stream: id) }
    if hasStarted { deliver(bytes) } else { heldBytes.writeBytes(bytes) }
  }

  private func deliver(_ bytes: UnsafeRawBufferPointer) {
    owner?.received(bytes, from: side)
    if isPaused { withheld += bytes.count } else { tunnel.consumed(bytes.count, stream: id) }
  }

  func receivedEnd() {
    if hasStarted { owner?.ended(side) } else { heldEnd = true }
  }

  func broken(_ failure: StreamFailure) {
    guard !isClosed else { return }
    let owner = owner
    isClosed = true
    self.owner = nil
    owner?.failed(side, failure)
  }

  /// The windows or the socket may take more.
  func mayWrite() {
    guard !isClosed else { return }
    while pending.readableBytes > 0 {
      let sent = pending.withUnsafeReadableBytes { tunnel.send($0, stream: id) }
      guard sent > 0 else { return }
      pending.moveReaderIndex(forwardBy: sent)
    }
    pending = ByteBuffer()
    if wantsFinish { sendEnd() }
    guard reportedBlocked, !tunnel.isCongested else { return }
    reportedBlocked = false
    owner?.unblocked(side)
  }
}
