import NIOCore
import Synchronization

/// Bounds the connections of a port: one above the limit is closed before its handshake.
final class ConnectionGate: Sendable {
  private let limit: Int
  private let open = Atomic(0)

  init(limit: Int) {
    self.limit = limit
  }

  /// For each accepted connection; also puts the guard against silent peers in.
  func admit(_ channel: any Channel, silence: TimeAmount) -> EventLoopFuture<Void> {
    let count = open.add(1, ordering: .relaxed).newValue
    channel.closeFuture.whenComplete { _ in self.open.subtract(1, ordering: .relaxed) }
    guard count <= limit else {
      channel.close(promise: nil)
      return channel.eventLoop.makeSucceededVoidFuture()
    }
    return SilentPeerHandler.add(to: channel, limit: silence)
  }
}
