import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket

/// The kubelet's HTTPS server, which the API server leads `kubectl exec` and `kubectl logs` to.
///
/// `exec` is spoken over WebSocket (`v5.channel.k8s.io` and `v4`), which kubectl tries first since 1.31; SPDY isn't.
final class KubeletServer: Sendable {
  static let standardPort = 10250
  /// Connections at a time; more are closed at once.
  private static let maximumConnections = 256
  static let maximumMessage = 1 << 20

  private let channel: any Channel

  private init(channel: any Channel) { self.channel = channel }

  /// The port that it listens on.
  var port: Int { channel.localAddress?.port ?? 0 }

  /// - Parameters:
  ///   - listener: a socket that listens, in whatever network namespace; it is closed with the server.
  ///   - node: the node's name, for its certificate.
  ///   - clientAuthority: see `ServingCertificate`.
  static func start(
    listener: CInt, node: String, clientAuthority: [UInt8]? = nil, containers: any ContainerAccess
  ) async throws -> KubeletServer {
    // A command that doesn't read its input must not end this program.
    signal(SIGPIPE, SIG_IGN)
    let context = try NIOSSLContext(configuration: ServingCertificate.tls(node: node, clientAuthority: clientAuthority))
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let count = NIOLoopBoundBox.makeBoxSendingValue(0, eventLoop: loop)
    let channel = try await ServerBootstrap(group: loop)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          guard count.value < maximumConnections else { throw LabError("too many connections to node \(node)") }
          count.value += 1
          channel.closeFuture.whenComplete { _ in count.value -= 1 }
          try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
          try addHTTP(to: channel, containers)
        }
      }
      .withBoundSocket(listener).get()
    return KubeletServer(channel: channel)
  }

  func stop() async { try? await channel.close() }

  private static func addHTTP(to channel: any Channel, _ containers: any ContainerAccess) throws {
    let upgrader = NIOTypedWebSocketServerUpgrader<Void>(
      maxFrameSize: maximumMessage,
      shouldUpgrade: { channel, head in
        channel.eventLoop.makeSucceededFuture(
          ExecProtocol.chosen(for: head).map { ["Sec-WebSocket-Protocol": $0.rawValue] })
      },
      upgradePipelineHandler: { channel, head in
        channel.eventLoop.makeCompletedFuture {
          guard case .exec(let container, let exec) = try KubeletRequest(uri: head.uri) else {
            throw KubeletRequest.Refusal(status: 400, description: "logs are no WebSocket")
          }
          try channel.pipeline.syncOperations.addHandlers(
            NIOWebSocketFrameAggregator(
              minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: 1024, maxAccumulatedFrameSize: maximumMessage),
            ExecServerHandler(exec, in: container, of: containers))
        }
      })
    let upgrade = NIOTypedHTTPServerUpgradeConfiguration<Void>(upgraders: [upgrader]) { channel in
      channel.eventLoop.makeCompletedFuture {
        try channel.pipeline.syncOperations.addHandler(KubeletHandler(containers))
      }
    }
    let configuration = NIOUpgradableHTTPServerPipelineConfiguration(upgradeConfiguration: upgrade)
    try channel.pipeline.syncOperations.configureUpgradableHTTPServerPipeline(configuration: configuration)
      .whenFailure { _ in channel.close(promise: nil) }
  }
}

/// The versions of the channels' protocol that are spoken. In v5 a client can say that its input has ended.
enum ExecProtocol: String {
  case v5 = "v5.channel.k8s.io"
  case v4 = "v4.channel.k8s.io"

  /// The first that the client offers; nil where the request isn't an `exec` that can be served.
  static func chosen(for head: HTTPRequestHead) -> ExecProtocol? {
    guard case .exec? = try? KubeletRequest(uri: head.uri) else { return nil }
    return head.headers[canonicalForm: "sec-websocket-protocol"].lazy.compactMap { ExecProtocol(rawValue: String($0)) }
      .first
  }
}
