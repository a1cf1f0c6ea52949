import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket

/// `kubectl exec` without kubectl: the `exec` subresource over WebSocket (RFC 6455), so that RBAC decides.
extension KubernetesClient {
  /// Bytes of a frame, and of a message of several.
  private static let maximumMessage = 4 << 20
  private static let protocols = "v5.channel.k8s.io, v4.channel.k8s.io"

  /// Runs a command in a container, without standard input, and waits for its end.
  /// - Parameters:
  ///   - command: the program, found by the container's PATH, and its arguments.
  ///   - container: empty: the pod's only one.
  ///   - maximumOutput: bytes of standard output. Of standard error the first 64 KiB are kept.
  ///   - seconds: from the connection to the command's end.
  public func exec(
    _ command: [String], namespace: String, pod: String, container: String = "", maximumOutput: Int = 64 << 20,
    seconds: Int = 30
  ) async throws(ExecError) -> ExecOutcome {
    var query = ["stdout=true", "stderr=true"] + command.map { "command=\(Self.escaped($0))" }
    if !container.isEmpty { query.append("container=\(Self.escaped(container))") }
    let resource = KubernetesResource(version: "v1", plural: "pods")
    let path =
      "\(resource.path(namespace: namespace, name: pod, subresource: "exec"))?\(query.joined(separator: "&"))"
    let place = try endpoint()
    let head = try requestHead(place, path)
    let tls: NIOSSLContext?
    do { tls = place.isSecure ? try NIOSSLContext(configuration: try tlsConfiguration()) : nil } catch {
      throw .api(.unreachable("\(error)"))
    }

    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let promise = loop.makePromise(of: ExecOutcome.self)
    let deadline = loop.scheduleTask(in: .seconds(Int64(seconds))) { promise.fail(ExecError.timeout(seconds)) }
    defer { deadline.cancel() }
    let name = server.serverName.isEmpty ? place.host : server.serverName
    let channel: any Channel
    do {
      channel = try await ClientBootstrap(group: loop)
        .connectTimeout(.seconds(10))
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            if let tls { try channel.pipeline.syncOperations.addHandler(Self.tlsHandler(tls, name)) }
            try Self.addUpgrade(to: channel, head, promise, maximumOutput)
          }
        }
        .connect(host: place.host, port: place.port).get()
    } catch {
      promise.fail(error)
      throw .api(.unreachable("\(error)"))
    }
    defer { channel.close(promise: nil) }
    do {
      return try await promise.futureResult.get()
    } catch let error as ExecError {
      if case .api(.refused(401, _)) = error { forgetToken() }
      throw error
    } catch {
      throw .broken("\(error)")
    }
  }

  // MARK: Connecting

  private struct Endpoint {
    var isSecure: Bool
    var host: String
    var port: Int
    /// Before the API's own paths.
    var prefix: String
  }

  private func endpoint() throws(ExecError) -> Endpoint {
    guard let parts = URLComponents(string: server.url), let host = parts.host, !host.isEmpty else {
      throw .api(.unreachable("\(server.url.prefix(100)) names no host"))
    }
    let isSecure = parts.scheme?.lowercased() == "https"
    // An IPv6 address stands in brackets.
    let bare = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
    return Endpoint(
      isSecure: isSecure, host: bare, port: parts.port ?? (isSecure ? 443 : 80), prefix: parts.percentEncodedPath)
  }

  private func requestHead(_ place: Endpoint, _ path: String) throws(ExecError) -> HTTPRequestHead {
    let host = place.host.contains(":") ? "[\(place.host)]" : place.host
    var headers: HTTPHeaders = ["host": "\(host):\(place.port)", "sec-websocket-protocol": Self.protocols]
    do throws(KubernetesError) {
      headers.add(contentsOf: try callerFields())
    } catch {
      throw .api(error)
    }
    return HTTPRequestHead(version: .http1_1, method: .GET, uri: place.prefix + path, headers: headers)
  }

  private static func tlsHandler(_ context: NIOSSLContext, _ name: String) throws -> NIOSSLClientHandler {
    // An address can't be asked for by SNI; the certificate is checked against it all the same.
    let isAddress = (try? SocketAddress(ipAddress: name, port: 0)) != nil
    return try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : name)
  }

  private static func addUpgrade(
    to channel: any Channel, _ head: HTTPRequestHead, _ promise: EventLoopPromise<ExecOutcome>, _ maximumOutput: Int
  ) throws {
    let upgrader = NIOTypedWebSocketClientUpgrader<Void>(maxFrameSize: maximumMessage) { channel, response in
      channel.eventLoop.makeCompletedFuture {
        guard let chosen = response.headers.first(name: "sec-websocket-protocol"),
          protocols.split(separator: ", ").contains(chosen[...])
        else { throw ExecError.broken("the server speaks none of \(protocols)") }
        try channel.pipeline.syncOperations.addHandlers(
          NIOWebSocketFrameAggregator(
            minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: 1024, maxAccumulatedFrameSize: maximumMessage),
          ExecHandler(promise, maximumOutput: maximumOutput))
      }
    }
    let upgrade = NIOTypedHTTPClientUpgradeConfiguration<Void>(upgradeRequestHead: head, upgraders: [upgrader]) {
      channel in
      channel.eventLoop.makeCompletedFuture {
        try channel.pipeline.syncOperations.addHandler(ExecRefusalHandler(promise))
      }
    }
    var configuration = NIOUpgradableHTTPClientPipelineConfiguration(upgradeConfiguration: upgrade)
    // The command may be told of in the same segment as the change of protocol.
    configuration.leftOverBytesStrategy = .forwardBytes
    try channel.pipeline.syncOperations.configureUpgradableHTTPClientPipeline(configuration: configuration)
      .whenFailure { error in promise.fail(Self.upgradeError(error)) }
  }

  private static func upgradeError(_ error: any Error) -> ExecError {
    if let error = error as? ExecError { return error }
    if error is NIOSSLError || error is BoringSSLError || error is NIOSSLExtraError {
      return .api(.unreachable("TLS: \(error)"))
    }
    return .broken("\(error)")
  }
}
