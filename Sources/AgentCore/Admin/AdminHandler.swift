import NIOCore
import NIOHTTP1

/// One connection's requests, one after another; the answers come from the agent.
final class AdminHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  /// Bytes of a request's body, which is read and ignored.
  static let bodyBound = 64 << 10

  private let answer: @Sendable (String) async -> AdminAnswer
  private var head: HTTPRequestHead?
  private var bodyBytes = 0

  init(answer: @escaping @Sendable (String) async -> AdminAnswer) { self.answer = answer }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      self.head = head
      bodyBytes = 0
    case .body(let bytes):
      bodyBytes += bytes.readableBytes
      guard bodyBytes > Self.bodyBound, var head else { return }
      self.head = nil
      head.headers.replaceOrAdd(name: "connection", value: "close")
      write(.failure(413, "a request has no body here; at most \(Self.bodyBound) bytes are read"), head, context)
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
    var headers: HTTPHeaders = [
      "content-type": "application/json", "content-length": "\(answer.body.count)",
      "connection": request.isKeepAlive ? "keep-alive" : "close",
    ]
    if answer.status == 405 { headers.add(name: "allow", value: "GET") }
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
    if event is IdleStateHandler.IdleStateEvent {
      context.close(promise: nil)
    } else {
      context.fireUserInboundEventTriggered(event)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
