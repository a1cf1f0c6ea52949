import Foundation
import NIOCore
import NIOWebSocket

/// The channels of the protocol: each message begins with the byte of one.
enum ExecChannel {
  static let input: UInt8 = 0
  static let output: UInt8 = 1
  static let errors: UInt8 = 2
  static let end: UInt8 = 3
  /// v5: the channel in the next byte has ended.
  static let close: UInt8 = 255
}

/// One connection's `exec`: starts the command, passes its input on, and ends it when the client goes.
final class ExecServerHandler: ChannelInboundHandler {
  typealias InboundIn = WebSocketFrame
  typealias OutboundOut = WebSocketFrame

  private let exec: KubeletRequest.Exec
  private let container: ContainerName
  private let containers: any ContainerAccess
  private var session: ExecSession?

  init(_ exec: KubeletRequest.Exec, in container: ContainerName, of containers: any ContainerAccess) {
    self.exec = exec
    self.container = container
    self.containers = containers
  }

  func handlerAdded(context: ChannelHandlerContext) {
    let session = ExecSession(exec, in: container, of: containers, over: context.channel)
    self.session = session
    session.start()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let frame = unwrapInboundIn(data)
    switch frame.opcode {
    case .ping:
      context.writeAndFlush(
        wrapOutboundOut(WebSocketFrame(fin: true, opcode: .pong, data: frame.unmaskedData)), promise: nil)
    case .connectionClose: context.close(promise: nil)
    case .binary, .text: received(frame.unmaskedData, context)
    default: break
    }
  }

  private func received(_ message: ByteBuffer, _ context: ChannelHandlerContext) {
    var message = message
    guard let channel: UInt8 = message.readInteger() else { return }
    switch channel {
    case ExecChannel.input where message.readableBytes > 0:
      // No more is read until the command has taken this.
      let network = context.channel
      network.setOption(ChannelOptions.autoRead, value: false).whenComplete { _ in }
      session?.write(Array(message.readableBytesView)) {
        network.setOption(ChannelOptions.autoRead, value: true).whenComplete { _ in }
      }
    case ExecChannel.close where message.readInteger() == ExecChannel.input: session?.endInput()
    default: break
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    session?.abandon()
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
