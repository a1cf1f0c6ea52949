import FoundationEssentials
import NIOCore
import NIOHTTP1

struct AgentResponse: Sendable {
  var status: Int
  var body: Data
}

enum AgentClientError: Error {
  case timeout, tooLong, closed
}

/// Gathers one response and fulfils the promise, once, whatever happens.
final class ResponseCollector: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart

  private let promise: EventLoopPromise<AgentResponse>
  private let bodyLimit: Int
  private var status = 0
  private var body = Data()

  init(_ promise: EventLoopPromise<AgentResponse>, bodyLimit: Int) {
    self.promise = promise
    self.bodyLimit = bodyLimit
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): status = Int(head.status.code)
    case .body(let bytes):
      guard body.count + bytes.readableBytes <= bodyLimit else {
        promise.fail(AgentClientError.tooLong)
        context.close(promise: nil)
        return
      }
      bytes.withUnsafeReadableBytes { body.append(contentsOf: $0) }
    case .end:
      promise.succeed(AgentResponse(status: status, body: body))
      context.close(promise: nil)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    promise.fail(error)
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    promise.fail(AgentClientError.closed)
    context.fireChannelInactive()
  }
}
