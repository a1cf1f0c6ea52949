import NIOCore
import NIOPosix

/// A port with an event loop of its own, for few and short connections.
enum BoundedServer {
  /// Until the task is cancelled; throws where the port can't be had.
  /// - Parameters:
  ///   - purpose: what for, as in "can't … on HOST port PORT".
  ///   - maximumConnections: at a time; for one more the one that has been idle for the longest goes.
  ///   - patience: with a new connection, until its first request begins.
  ///   - listens: told the port.
  ///   - handlers: puts a connection's handlers in.
  static func run(
    to purpose: String, host: String, port: Int, maximumConnections: Int, patience: TimeAmount,
    listens: (Int) -> Void = { _ in },
    handlers: @escaping @Sendable (ChannelPipeline.SynchronousOperations, BoundedConnection) throws -> Void
  ) async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let connections = NIOLoopBoundBox.makeBoxSendingValue(
      OpenConnections(maximum: maximumConnections), eventLoop: group.next())
    let channel: any Channel
    do {
      channel = try await ServerBootstrap(group: group)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            let connection = BoundedConnection(connections.value, patience: patience)
            // At the side of the network, below TLS, so that closing waits for nobody.
            try channel.pipeline.syncOperations.addHandler(connection)
            guard connections.value.admit(connection) else { throw ControlPlaneError("too many connections") }
            try handlers(channel.pipeline.syncOperations, connection)
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

/// A connection of a `BoundedServer`, which is told how its requests fare; on its event loop.
final class BoundedConnection: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let all: OpenConnections
  private let patience: TimeAmount
  private var context: ChannelHandlerContext?
  private var deadline: Scheduled<Void>?

  fileprivate init(_ all: OpenConnections, patience: TimeAmount) {
    self.all = all
    self.patience = patience
  }

  /// A request's head is there.
  func requestBegins() {
    deadline?.cancel()
    all.bound.touch(ObjectIdentifier(self))
  }

  /// All of it has come: until its answer no other connection takes this one's place.
  func requestIsWhole() { all.bound.begin(ObjectIdentifier(self)) }

  func requestIsAnswered() { all.bound.end(ObjectIdentifier(self)) }

  fileprivate func close() { context?.close(promise: nil) }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    deadline = context.eventLoop.assumeIsolated().scheduleTask(in: patience) { [self] in close() }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    deadline?.cancel()
    self.context = nil
    all.remove(self)
  }
}

/// Those of one server.
private final class OpenConnections {
  var bound: ConnectionBound<ObjectIdentifier>
  private var connections: [ObjectIdentifier: BoundedConnection] = [:]

  init(maximum: Int) { bound = ConnectionBound(maximum: maximum) }

  /// - Returns: false where there is no room.
  func admit(_ connection: BoundedConnection) -> Bool {
    switch bound.admit(ObjectIdentifier(connection)) {
    case .admitted: break
    case .inPlaceOf(let oldest): connections.removeValue(forKey: oldest)?.close()
    case .refused: return false
    }
    connections[ObjectIdentifier(connection)] = connection
    return true
  }

  func remove(_ connection: BoundedConnection) {
    bound.remove(ObjectIdentifier(connection))
    connections[ObjectIdentifier(connection)] = nil
  }
}
