import NIOCore
import NIOHTTP1
import NIOWebSocket

/// The frames of an `exec`, until its outcome is known.
final class ExecHandler: ChannelInboundHandler {
  typealias InboundIn = WebSocketFrame
  typealias OutboundOut = WebSocketFrame

  /// How long the server may take to close once it has told the command's status.
  private static let closing = TimeAmount.seconds(1)

  private let promise: EventLoopPromise<ExecOutcome>
  private var streams: ExecStreams

  init(_ promise: EventLoopPromise<ExecOutcome>, maximumOutput: Int) {
    self.promise = promise
    streams = ExecStreams(maximumOutput: maximumOutput)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    switch frame.opcode {
    case .ping:
      let pong = WebSocketFrame(fin: true, opcode: .pong, maskKey: .random(), data: frame.unmaskedData)
      context.writeAndFlush(wrapOutboundOut(pong), promise: nil)
    case .connectionClose: finish(context)
    case .binary, .text: received(frame.unmaskedData, context)
    default: break
    }
  }

  private func received(_ message: ByteBuffer, _ context: ChannelHandlerContext) {
    let hadEnded = streams.hasEnded
    do {
      try streams.received(message.readableBytesView)
    } catch {
      promise.fail(error)
      return context.close(promise: nil)
    }
    guard streams.hasEnded, !hadEnded else { return }
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    context.eventLoop.scheduleTask(in: Self.closing) {
      let (handler, context) = bound.value
      handler.finish(context)
    }
  }

  private func finish(_ context: ChannelHandlerContext) {
    promise.completeWith(Result { try streams.outcome() })
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    promise.completeWith(Result { try streams.outcome() })
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // TLS without a good-bye, for one: what has been told by then holds.
    promise.completeWith(
      Result {
        guard streams.hasEnded else { throw ExecError.broken("\(error)") }
        return try streams.outcome()
      })
    context.close(promise: nil)
  }
}

/// The answer of a server that doesn't change to WebSocket: the reason.
final class ExecRefusalHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart

  private static let maximumBody = 64 << 10

  private let promise: EventLoopPromise<ExecOutcome>
  private var head: HTTPResponseHead?
  private var body: [UInt8] = []

  init(_ promise: EventLoopPromise<ExecOutcome>) { self.promise = promise }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    case .body(let bytes): body += bytes.readableBytesView.prefix(Self.maximumBody - body.count)
    case .end: refuse(context)
    }
  }

  private func refuse(_ context: ChannelHandlerContext) {
    if let head {
      let status = Int(head.status.code)
      // 101 of another protocol, or a success without any.
      let error: ExecError =
        status < 300
        ? .broken("it answers with status \(status), and doesn't speak v4.channel.k8s.io over WebSocket")
        : .api(
          KubernetesError(
            status: status, body: body, retryAfter: head.headers.first(name: "retry-after").flatMap { Int($0) }))
      promise.fail(error)
    } else {
      promise.fail(ExecError.broken("it ended without an answer"))
    }
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    refuse(context)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    promise.fail(ExecError.broken("\(error)"))
    context.close(promise: nil)
  }
}
