import NIOCore
import NIOPosix

/// A port with an event loop of its own, for few and short connections.
enum BoundedServer {
  /// Until the task is cancelled; throws where the port can't be had.
  /// - Parameters:
  ///   - purpose: what for, as in "can't … on HOST port PORT".
  ///   - maximumConnections: at a time; more are closed at once.
  ///   - listens: told the port.
  ///   - handlers: puts a connection's handlers in.
  static func run(
    to purpose: String, host: String, port: Int, maximumConnections: Int, listens: (Int) -> Void = { _ in },
    handlers: @escaping @Sendable (ChannelPipeline.SynchronousOperations) throws -> Void
  ) async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let count = NIOLoopBoundBox.makeBoxSendingValue(0, eventLoop: group.next())
    let channel: any Channel
    do {
      channel = try await ServerBootstrap(group: group)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            guard count.value < maximumConnections else { throw ControlPlaneError("too many connections") }
            count.value += 1
            channel.closeFuture.whenComplete { _ in count.value -= 1 }
            try handlers(channel.pipeline.syncOperations)
          }
        }
        .bind(host: host, port: port).get()
    } catch {
      try? await group.shutdownGracefully()
      throw ControlPlaneError("can't \(purpose) on \(host) port \(port): \(error)")
    }
    listens(channel.localAddress?.port ?? port)
    await withTaskCancellationHandler {
      try? await channel.closeFuture.get()
    } onCancel: {
      channel.close(promise: nil)
    }
    try? await group.shutdownGracefully()
  }
}
