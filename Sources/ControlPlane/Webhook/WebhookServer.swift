import Discovery
import KubernetesAPI
import Logging
import NIOCore
import NIOHTTP1
import NIOSSL

/// Answers the API server's admission reviews: POST /inject over HTTPS (HTTP/1.1, TLS 1.3), each connection with the
/// certificate of the moment.
struct WebhookServer: Sendable {
  static let path = "/inject"
  /// Bytes of a review: etcd takes objects of 1.5 MiB.
  static let maximumBody = 3 << 20
  /// From a connection's start to its first request's head; and from a request's head to its end.
  static let patience = TimeAmount.seconds(10)

  typealias Judge = @Sendable (AdmissionReview.Request) async throws -> AdmissionReview.Answer

  let certificate: ServerCertificate
  let judge: Judge
  let logger: Logger
  /// At a time; see `BoundedServer`.
  var maximumConnections = 256

  /// Until the task is cancelled; throws where the port can't be had.
  /// - Parameter listens: told the port.
  func run(host: String, port: Int, listens: (Int) -> Void = { _ in }) async throws {
    try await BoundedServer.run(
      to: "serve the webhook", host: host, port: port, maximumConnections: maximumConnections, patience: Self.patience,
      listens: { port in
        logger.info("serving the webhook", metadata: ["port": "\(port)"])
        listens(port)
      },
      handlers: { pipeline, connection in
        try pipeline.addHandler(NIOSSLServerHandler(context: try context()))
        try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
        try pipeline.addHandlers(
          IdleStateHandler(readTimeout: .seconds(60)),
          WebhookHandler(judge: judge, logger: logger, connection: connection))
      })
  }

  private func context() throws -> NIOSSLContext {
    let identity = certificate.current
    var tls = TLSConfiguration.makeServerConfiguration(
      certificateChain: try identity.certificate.chain.map {
        .certificate(try NIOSSLCertificate(bytes: $0, format: .der))
      },
      privateKey: .privateKey(try NIOSSLPrivateKey(bytes: identity.key.pkcs8DER, format: .der)))
    tls.minimumTLSVersion = .tlsv13
    tls.applicationProtocols = ["http/1.1"]
    return try NIOSSLContext(configuration: tls)
  }
}

private final class WebhookHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let judge: WebhookServer.Judge
  private let logger: Logger
  private let connection: BoundedConnection
  private var head: HTTPRequestHead?
  private var body = ByteBuffer()
  /// Why the request is answered before it has been read.
  private var rejection: (status: HTTPResponseStatus, text: String)?
  private var deadline: Scheduled<Void>?

  init(judge: @escaping WebhookServer.Judge, logger: Logger, connection: BoundedConnection) {
    self.judge = judge
    self.logger = logger
    self.connection = connection
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): begin(head, context)
    case .body(var part):
      guard rejection == nil else { return }
      guard body.readableBytes + part.readableBytes <= WebhookServer.maximumBody else {
        return reject(context, .payloadTooLarge, "a review has at most \(WebhookServer.maximumBody) bytes\n")
      }
      body.writeBuffer(&part)
    case .end:
      deadline?.cancel()
      guard rejection == nil else { return }
      decide(context)
    }
  }

  private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    self.head = head
    body.clear()
    connection.requestBegins()
    let loop = NIOLoopBound(context, eventLoop: context.eventLoop)
    deadline = context.eventLoop.scheduleTask(in: WebhookServer.patience) { loop.value.close(promise: nil) }
    let path = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).first ?? ""
    if path != WebhookServer.path {
      reject(context, .notFound, "POST \(WebhookServer.path) is here\n")
    } else if head.method != .POST {
      reject(context, .methodNotAllowed, "POST\n")
    } else if let length = head.headers.first(name: "content-length").flatMap(Int.init),
      length > WebhookServer.maximumBody
    {
      reject(context, .payloadTooLarge, "a review has at most \(WebhookServer.maximumBody) bytes\n")
    }
  }

  /// Answers at once and closes: the rest of the request isn't read.
  private func reject(_ context: ChannelHandlerContext, _ status: HTTPResponseStatus, _ text: String) {
    rejection = (status, text)
    deadline?.cancel()
    answer(context, status, "text/plain", Array(text.utf8), closes: true)
  }

  private func decide(_ context: ChannelHandlerContext) {
    connection.requestIsWhole()
    let bytes = body.readBytes(length: body.readableBytes) ?? []
    let (judge, logger) = (judge, logger)
    let reply = context.eventLoop.makeFutureWithTask { () -> (HTTPResponseStatus, String, [UInt8]) in
      do {
        let request = try AdmissionReview.read(bytes)
        let answer = try await judge(request)
        if let refusal = answer.refusal {
          logger.notice("refused a pod", metadata: ["namespace": "\(request.namespace)", "reason": "\(refusal)"])
        }
        return (.ok, "application/json", AdmissionReview.answer(request, answer).bytes)
      } catch let error as ControlPlaneError {
        return (.badRequest, "text/plain", Array("\(error)\n".utf8))
      } catch {
        logger.error("can't judge a pod: \(error)")
        return (.internalServerError, "text/plain", Array("\(error)\n".utf8))
      }
    }
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    reply.whenSuccess { status, type, bytes in
      let (handler, context) = bound.value
      handler.answer(context, status, type, bytes, closes: handler.head?.isKeepAlive != true)
    }
  }

  private func answer(
    _ context: ChannelHandlerContext, _ status: HTTPResponseStatus, _ type: String, _ bytes: [UInt8], closes: Bool
  ) {
    connection.requestIsAnswered()
    var fields: HTTPHeaders = ["content-type": type, "content-length": "\(bytes.count)"]
    if closes { fields.add(name: "connection", value: "close") }
    context.write(wrapOutboundOut(.head(.init(version: .http1_1, status: status, headers: fields))), promise: nil)
    context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(bytes: bytes)))), promise: nil)
    let loop = NIOLoopBound(context, eventLoop: context.eventLoop)
    context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in
      if closes { loop.value.close(promise: nil) }
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard event is IdleStateHandler.IdleStateEvent else { return context.fireUserInboundEventTriggered(event) }
    context.close(promise: nil)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
