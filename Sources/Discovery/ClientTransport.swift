import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Identity
import MeshModel

extension TLSConfig.TrustRootsSource {
  /// The default, the system's, has to be there, and in an image made from scratch it isn't.
  static var onlyTheCallback: Self { .certificates([]) }
}

/// A connection's settings on the agent's side.
enum ControlTransport {
  typealias Client = GRPCClient<HTTP2ClientTransport.Posix>

  /// - Parameters:
  ///   - replica: the address of `endpoint` to connect to; nil: any.
  ///   - credentials: the node's; nil for joining.
  ///   - refused: is told why the server's certificate was not accepted.
  static func make(
    _ endpoint: ControlEndpoint, replica: ControlEndpoint? = nil, credentials: HeldIdentity?, bundle: TrustBundle,
    refused: @escaping @Sendable (IdentityError) -> Void
  ) throws -> HTTP2ClientTransport.Posix {
    let control = CertificateSubject.control(bundle.trustDomain)
    let security = HTTP2ClientTransport.Posix.TransportSecurity.tls {
      if let credentials {
        $0.certificateChain = credentials.certificateSources
        $0.privateKey = credentials.privateKeySource
      }
      // The callback decides alone; the mode only says that there must be a certificate.
      $0.serverCertificateVerification = .noHostnameVerification
      $0.trustRoots = .onlyTheCallback
      $0.customVerificationCallback = HandshakeVerification.callback(
        role: .server, bundle: { bundle },
        accept: { (peer) throws(IdentityError) in
          guard peer.subject == control || (peer.subject == nil && peer.isNamed(endpoint.host)) else {
            throw IdentityError(
              .denied, "\(endpoint) has the certificate of \(peer.subject?.uri ?? "another host"), not of \(control)")
          }
        }, refused: refused)
    }
    let config = HTTP2ClientTransport.Posix.Config.defaults {
      // A dead peer is noticed in 20 s.
      $0.connection.keepalive = .init(time: .seconds(10), timeout: .seconds(5), allowWithoutCalls: true)
      $0.channelDebuggingCallbacks.onCreateTCPConnection = { SilentPeerHandler.add(to: $0, limit: .seconds(18)) }
    }
    let target = replica ?? endpoint
    if let address = IPAddress(target.host) {
      return address.family == .v4
        ? try .init(
          target: .ipv4(address: target.host, port: target.port), transportSecurity: security, config: config)
        : try .init(
          target: .ipv6(address: target.host, port: target.port), transportSecurity: security, config: config)
    }
    return try .init(
      target: .dns(host: endpoint.host, port: endpoint.port), transportSecurity: security, config: config)
  }

  /// For calls that must end: fails at once where there is no connection.
  static func options(timeout: Duration) -> CallOptions {
    var options = CallOptions.defaults
    options.timeout = timeout
    options.waitForReady = false
    options.maxResponseMessageBytes = 1024 * 1024
    return options
  }

  /// What went wrong, for people: a refused handshake explains more than the broken connection that it caused.
  static func explain(_ error: any Error, _ endpoint: ControlEndpoint, refusal: IdentityError?) -> DiscoveryError {
    if let refusal { return DiscoveryError(.refused, "\(endpoint): \(refusal)") }
    switch error {
    case let error as DiscoveryError: return error
    case let error as IdentityError: return DiscoveryError(.refused, "\(endpoint): \(error)")
    case let error as RPCError:
      let kind: DiscoveryError.Kind =
        switch error.code {
        case .unauthenticated, .permissionDenied: .refused
        case .invalidArgument, .failedPrecondition: .invalid
        default: .unreachable
        }
      let cause = error.cause.map { " (\($0))" } ?? ""
      // TLS 1.3 has the client's certificate refused after its own side of the handshake is done.
      if (error.message + cause).contains("_ALERT_") {
        return DiscoveryError(
          .refused, "\(endpoint): the control plane refuses this node's certificate; its log says why")
      }
      return DiscoveryError(kind, "\(endpoint): \(error.message)\(cause)")
    default: return DiscoveryError(.unreachable, "\(endpoint): \(error)")
    }
  }
}
