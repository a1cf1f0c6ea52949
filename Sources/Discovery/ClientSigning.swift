import DiscoveryAPI
import Foundation
import GRPCCore
import Identity
import MeshModel

extension DiscoveryClient {
  /// Makes a new key and has it certified.
  ///
  /// - Parameter subject: a workload that is scheduled on this node, or this node itself to renew its certificate
  ///   (then give the result to `use(_:)`).
  public func sign(_ subject: CertificateSubject) async throws(DiscoveryError) -> HeldIdentity {
    let key = WorkloadKey()
    let (client, credentials, bundle) = shared.withLock {
      ($0.status.connected ? $0.client : nil, $0.credentials, $0.bundle)
    }
    let endpoint = configuration.control
    let refusal = Guarded<IdentityError?>(nil)
    do {
      var request = Weft_Identity_V1_SignRequest()
      request.certificateSigningRequest = Data(try key.signingRequest(for: subject))
      let options = ControlTransport.options(timeout: .seconds(configuration.timeout))
      let response: Weft_Identity_V1_CertificateResponse
      if let client {
        response = try await Self.call(client, request, options)
      } else {
        let transport = try ControlTransport.make(
          endpoint, credentials: credentials, bundle: bundle, refused: { refusal.value = $0 })
        response = try await withGRPCClient(transport: transport) { [request] in
          try await Self.call($0, request, options)
        }
      }
      let (identity, trust) = try Self.accept(response, key: key, subject: subject, bundle: bundle)
      shared.withLock { $0.bundle = trust }
      return identity
    } catch {
      throw ControlTransport.explain(error, endpoint, refusal: refusal.value)
    }
  }

  /// Exchanges a join token for this node's first certificate.
  ///
  /// - Parameters:
  ///   - join: the control plane's join port.
  ///   - trustBundle: verifies the control plane: the agent's `--ca-file`.
  public static func join(
    node: String, at join: ControlEndpoint, token: String, trustBundle: TrustBundle, timeout: Double = 10
  ) async throws(DiscoveryError) -> (credentials: HeldIdentity, trustBundle: TrustBundle) {
    guard let id = NodeID(trustDomain: trustBundle.trustDomain, node: node) else {
      throw DiscoveryError(.invalid, "\(node.prefix(253)) is not a node name; it must be a DNS name")
    }
    let key = WorkloadKey()
    let refusal = Guarded<IdentityError?>(nil)
    do {
      var request = Weft_Identity_V1_JoinRequest()
      request.node = node
      request.token = token
      request.certificateSigningRequest = Data(try key.signingRequest(for: .node(id)))
      let transport = try ControlTransport.make(
        join, credentials: nil, bundle: trustBundle, refused: { refusal.value = $0 })
      let response = try await withGRPCClient(transport: transport) { [request] client in
        try await Weft_Identity_V1_NodeJoin.Client(wrapping: client)
          .join(request, options: ControlTransport.options(timeout: .seconds(timeout)))
      }
      return try accept(response, key: key, subject: .node(id), bundle: trustBundle)
    } catch {
      throw ControlTransport.explain(error, join, refusal: refusal.value)
    }
  }

  private static func call(
    _ client: ControlTransport.Client, _ request: Weft_Identity_V1_SignRequest, _ options: CallOptions
  ) async throws -> Weft_Identity_V1_CertificateResponse {
    try await Weft_Identity_V1_CertificateAuthority.Client(wrapping: client).sign(request, options: options)
  }

  /// Checks that the answer is what was asked for, and that the new roots are of the same trust domain.
  private static func accept(
    _ response: Weft_Identity_V1_CertificateResponse, key: WorkloadKey, subject: CertificateSubject,
    bundle: TrustBundle
  ) throws(IdentityError) -> (HeldIdentity, TrustBundle) {
    let identity = try HeldIdentity(key: key, certificate: IssuedIdentity(chain: response.chain.map { Array($0) }))
    guard identity.subject == subject else {
      throw IdentityError(.invalid, "asked for \(subject), but the CA signed \(identity.subject)")
    }
    let fresh = try TrustBundle(der: response.trustBundle.map { Array($0) })
    guard fresh.trustDomain == bundle.trustDomain else {
      throw IdentityError(.denied, "the CA sent roots of another trust domain, \(fresh.trustDomain)")
    }
    return (identity, fresh)
  }
}
