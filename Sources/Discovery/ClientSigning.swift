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
    let csr = try Self.signingRequest(key, subject)
    let timeout = configuration.timeout
    func ask(_ client: ControlTransport.Client) async throws -> Weft_Identity_V1_CertificateResponse {
      try await Weft_Identity_V1_CertificateAuthority.Client(wrapping: client).sign(
        .with { $0.certificateSigningRequest = csr }, options: ControlTransport.options(timeout: .seconds(timeout)))
    }
    let response: Weft_Identity_V1_CertificateResponse
    if let client {
      response = try await Self.explaining(endpoint) { _ in try await ask(client) }
    } else {
      response = try await ClientReplicas.firstAnswer(endpoint, node: configuration.node) {
        (replica) async throws(DiscoveryError) in
        try await Self.explaining(replica) { refused in
          let transport = try ControlTransport.make(
            endpoint, replica: replica, credentials: credentials, bundle: bundle, refused: refused)
          return try await withGRPCClient(transport: transport) { try await ask($0) }
        }
      }
    }
    let (identity, trust) = try Self.accept(response, key: key, subject: subject, bundle: bundle, endpoint)
    shared.withLock {
      $0.bundle = trust
      // A control plane of before says nothing.
      guard response.issuedAt > 0 else { return }
      $0.status.clockLag = Double(response.issuedAt) - Date().timeIntervalSince1970
    }
    return identity
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
    let csr = try signingRequest(key, .node(id))
    let response = try await ClientReplicas.firstAnswer(join, node: node) { (replica) async throws(DiscoveryError) in
      try await explaining(replica) { refused in
        let request = Weft_Identity_V1_JoinRequest.with {
          $0.node = node
          $0.token = token
          $0.certificateSigningRequest = csr
        }
        let transport = try ControlTransport.make(
          join, replica: replica, credentials: nil, bundle: trustBundle, refused: refused)
        return try await withGRPCClient(transport: transport) { client in
          try await Weft_Identity_V1_NodeJoin.Client(wrapping: client)
            .join(request, options: ControlTransport.options(timeout: .seconds(timeout)))
        }
      }
    }
    return try accept(response, key: key, subject: .node(id), bundle: trustBundle, join)
  }

  private static func signingRequest(
    _ key: WorkloadKey, _ subject: CertificateSubject
  ) throws(DiscoveryError) -> Data {
    do {
      return Data(try key.signingRequest(for: subject))
    } catch {
      throw DiscoveryError(.invalid, "\(error)")
    }
  }

  /// Makes every error one for people.
  private static func explaining<Answer: Sendable>(
    _ endpoint: ControlEndpoint,
    _ body: (_ refused: @escaping @Sendable (IdentityError) -> Void) async throws -> Answer
  ) async throws(DiscoveryError) -> Answer {
    let refusal = Guarded<IdentityError?>(nil)
    do {
      return try await body { refusal.value = $0 }
    } catch {
      throw ControlTransport.explain(error, endpoint, refusal: refusal.value)
    }
  }

  /// Checks that the answer is what was asked for, and that the new roots are of the same trust domain.
  private static func accept(
    _ response: Weft_Identity_V1_CertificateResponse, key: WorkloadKey, subject: CertificateSubject,
    bundle: TrustBundle, _ endpoint: ControlEndpoint
  ) throws(DiscoveryError) -> (HeldIdentity, TrustBundle) {
    do {
      return try check(response, key: key, subject: subject, bundle: bundle)
    } catch {
      throw ControlTransport.explain(error, endpoint, refusal: nil)
    }
  }

  private static func check(
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
