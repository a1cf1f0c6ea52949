import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// An answer of the admin API.
public struct AdminAnswer: Sendable {
  var status: Int
  /// JSON.
  var body: Data

  static func failure(_ status: Int, _ reason: String) -> AdminAnswer {
    AdminAnswer(status: status, body: (try? JSONEncoder().encode(["error": reason])) ?? Data())
  }
}

/// HTTP/1.1 with JSON on a Unix socket of mode 0600. Only GET; a connection that is silent for 10 s is closed.
final class AdminServer: Sendable {
  /// Connections at a time; more are closed at once.
  static let connectionsBound = 64

  private let group: MultiThreadedEventLoopGroup
  private let channel: any Channel
  private let path: String

  private init(group: MultiThreadedEventLoopGroup, channel: any Channel, path: String) {
    self.group = group
    self.channel = channel
    self.path = path
  }

  static func start(path: String, answer: @escaping @Sendable (String) async -> AdminAnswer) async throws -> AdminServer
  {
    // Bound here and not by NIO, so that the socket is never there with another mode.
    let listener = try ControlSocket.listen(path)
    // One thread, on which the count of connections is kept too.
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let count = NIOLoopBoundBox.makeBoxSendingValue(0, eventLoop: group.next())
    do {
      let channel = try await ServerBootstrap(group: group)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            guard count.value < connectionsBound else { throw AgentError("too many connections") }
            count.value += 1
            channel.closeFuture.whenComplete { _ in count.value -= 1 }
            try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: true)
            try channel.pipeline.syncOperations.addHandlers(
              IdleStateHandler(readTimeout: .seconds(10)), AdminHandler(answer: answer))
          }
        }
        .withBoundSocket(listener).get()
      return AdminServer(group: group, channel: channel, path: path)
    } catch {
      try? await group.shutdownGracefully()
      throw AgentError("can't serve the admin API at \(path): \(error)")
    }
  }

  func stop() async {
    try? await channel.close()
    try? await group.shutdownGracefully()
    unlink(path)
  }
}
