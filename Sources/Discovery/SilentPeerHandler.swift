import NIOCore

/// Closes a connection on which nothing was received for a while.
///
/// gRPC's own keepalive (2.9) sends its pings, but answers their loss with a graceful shutdown that waits for the
/// lost peer once more, so a server would keep a vanished node as connected for as long as TCP retransmits. Since a
/// living peer answers those pings, silence is enough to tell.
final class SilentPeerHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let limit: TimeAmount
  private var lastRead = NIODeadline.now()
  private var check: Scheduled<Void>?

  /// - Parameter limit: above the interval of the pings and the time for their answer.
  init(limit: TimeAmount) {
    self.limit = limit
  }

  /// Puts one at the side of the network, below TLS, so that closing waits for nobody.
  static func add(to channel: any Channel, limit: TimeAmount) -> EventLoopFuture<Void> {
    // It fails only on a channel that is closed already, and a failure here would end the listener too.
    try? channel.pipeline.syncOperations.addHandler(SilentPeerHandler(limit: limit), position: .first)
    return channel.eventLoop.makeSucceededVoidFuture()
  }

  func handlerAdded(context: ChannelHandlerContext) {
    lastRead = .now()
    schedule(context)
  }

  func handlerRemoved(context: ChannelHandlerContext) { check?.cancel() }

  func channelInactive(context: ChannelHandlerContext) {
    check?.cancel()
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    lastRead = .now()
    context.fireChannelRead(data)
  }

  private func schedule(_ context: ChannelHandlerContext) {
    check = context.eventLoop.assumeIsolated().scheduleTask(deadline: lastRead + limit) { [self] in
      if lastRead + limit <= .now() {
        context.close(promise: nil)
      } else {
        schedule(context)
      }
    }
  }
}
