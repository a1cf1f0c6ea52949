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

/// HTTP/1.1 with JSON on a Unix socket of mode 0600. Only GET; a request has no body to speak of and is answered
/// within 10 s or the connection is closed.
final class AdminServer: Sendable {
  static let connectionsBound = 64

  private let group: MultiThreadedEventLoopGroup
  private let channel: any Channel
  private let path: String

  private init(group: MultiThreadedEventLoopGroup, channel: any Channel, path: String) {
    self.group = group
    self.channel = channel
    self.path = path
  }

  static func start(path: String, answer: @escaping @Sendable (String) async -> AdminAnswer) async throws -> AdminServer {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let mask = umask(0o177)
    defer { umask(mask) }
    do {
      let channel = try await ServerBootstrap(group: group)
        .serverChannelOption(ChannelOptions.backlog, value: 16)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: true)
            try channel.pipeline.syncOperations.addHandlers(
              IdleStateHandler(readTimeout: .seconds(10)), AdminHandler(answer: answer))
          }
        }
        .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
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

/// One request at a time; the answer comes from the agent's actor.
private final class AdminHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let answer: @Sendable (String) async -> AdminAnswer
  private var head: HTTPRequestHead?

  init(answer: @escaping @Sendable (String) async -> AdminAnswer) { self.answer = answer }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    case .body: break
    case .end:
      guard let head else { return }
      self.head = nil
      respond(to: head, context)
    }
  }

  private func respond(to head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    guard head.method == .GET else {
      return write(.failure(405, "\(head.method) is not supported: the admin API only answers GET"), head, context)
    }
    let path = String(head.uri.prefix { $0 != "?" })
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    let loop = context.eventLoop
    Task { [answer] in
      let made = await answer(path)
      loop.execute {
        let (handler, context) = bound.value
        handler.write(made, head, context)
      }
    }
  }

  private func write(_ answer: AdminAnswer, _ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
    let headers: HTTPHeaders = [
      "content-type": "application/json", "content-length": "\(answer.body.count)",
      "connection": request.isKeepAlive ? "keep-alive" : "close",
    ]
    let status = HTTPResponseStatus(statusCode: answer.status)
    context.write(wrapOutboundOut(.head(.init(version: .http1_1, status: status, headers: headers))), promise: nil)
    context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: answer.body)))), promise: nil)
    let end = context.writeAndFlush(wrapOutboundOut(.end(nil)))
    if !request.isKeepAlive {
      let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
      end.whenComplete { _ in bound.value.close(promise: nil) }
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
