import Foundation
import NIOCore
import NIOHTTP1

/// Requests that aren't WebSocket: logs, and refusals with their reason.
final class KubeletHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let containers: any ContainerAccess
  private var head: HTTPRequestHead?

  init(_ containers: any ContainerAccess) { self.containers = containers }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    // No request that is served has one.
    case .body: break
    case .end:
      guard let head else { return }
      self.head = nil
      answer(head, context)
    }
  }

  private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    do {
      guard case .logs(let container, let logs) = try KubeletRequest(uri: head.uri) else {
        throw KubeletRequest.Refusal(
          status: 400, description: "exec is served over WebSocket, v5.channel.k8s.io or v4.channel.k8s.io")
      }
      guard head.method == .GET else {
        throw KubeletRequest.Refusal(status: 405, description: "\(head.method) isn't served")
      }
      let path: String
      do { path = try containers.log(of: container) } catch {
        throw KubeletRequest.Refusal(status: 404, description: "\(error)")
      }
      let headers: HTTPHeaders = ["content-type": "text/plain", "connection": "close"]
      context.writeAndFlush(
        wrapOutboundOut(.head(.init(version: .http1_1, status: .ok, headers: headers))), promise: nil)
      LogStream(path: path, logs: logs, channel: context.channel) { [containers] in containers.isRunning(container) }
        .start()
    } catch {
      let refusal = error as? KubeletRequest.Refusal
      refuse(refusal?.status ?? 500, refusal?.description ?? "\(error)", context)
    }
  }

  private func refuse(_ status: Int, _ reason: String, _ context: ChannelHandlerContext) {
    let body = ByteBuffer(string: reason + "\n")
    let headers: HTTPHeaders = [
      "content-type": "text/plain", "content-length": "\(body.readableBytes)", "connection": "close",
    ]
    let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status), headers: headers)
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
    let channel = context.channel
    context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(promise: nil) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
