import NIOCore
import NIOHTTP1
import Synchronization

/// What the probes are told.
final class Health: Sendable {
  private let ready = Atomic(false)

  /// Everything has been read once, and it is served.
  var isReady: Bool {
    get { ready.load(ordering: .relaxed) }
    set { ready.store(newValue, ordering: .relaxed) }
  }

  /// - Returns: status and text.
  func answer(_ method: HTTPMethod, _ uri: String) -> (HTTPResponseStatus, String) {
    let path = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).first ?? ""
    switch (path, isReady) {
    case ("/healthz/live", _), ("/healthz/ready", true): break
    case ("/healthz/ready", false): return (.serviceUnavailable, "not ready: the log says what is waited for\n")
    default: return (.notFound, "/healthz/live and /healthz/ready are here\n")
    }
    guard method == .GET || method == .HEAD else { return (.methodNotAllowed, "GET\n") }
    return (.ok, "ok\n")
  }
}

/// The kubelet's probes, over plain HTTP/1.1.
enum HealthServer {
  /// At a time; more are closed at once.
  static let maximumConnections = 64

  /// Until the task is cancelled; throws where the port can't be had.
  static func run(host: String, port: Int, health: Health) async throws {
    try await BoundedServer.run(
      to: "answer probes", host: host, port: port, maximumConnections: maximumConnections
    ) { pipeline in
      try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
      try pipeline.addHandlers(IdleStateHandler(readTimeout: .seconds(10)), HealthHandler(health))
    }
  }
}

private final class HealthHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let health: Health
  private var head: HTTPRequestHead?

  init(_ health: Health) { self.health = health }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    case .body: break
    case .end:
      guard let head else { return }
      let (status, text) = health.answer(head.method, head.uri)
      let fields: HTTPHeaders = [
        "content-type": "text/plain", "content-length": "\(text.utf8.count)", "connection": "close",
      ]
      context.write(wrapOutboundOut(.head(.init(version: .http1_1, status: status, headers: fields))), promise: nil)
      if head.method != .HEAD {
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: text)))), promise: nil)
      }
      let loop = NIOLoopBound(context, eventLoop: context.eventLoop)
      context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in loop.value.close(promise: nil) }
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard event is IdleStateHandler.IdleStateEvent else { return context.fireUserInboundEventTriggered(event) }
    context.close(promise: nil)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
