import Foundation
import GRPCNIOTransportHTTP2Posix
import Identity
import Logging
import NIOCertificateReloading
import NIOCore
import NIOSSL
import Synchronization

/// The control plane's certificate for its listeners, renewed at half of its life by the handshake that finds it due.
public final class ServerCertificate: CertificateReloader {
  private let authority: CertificateAuthority
  private let names: [String]
  private let lifetime: TimeInterval
  private let logger: Logger
  private let held: Mutex<(identity: HeldIdentity, signer: String, schedule: RotationSchedule)>

  /// - Parameters:
  ///   - names: at most 64 host names and addresses.
  ///   - lifetime: in seconds; within `CertificateAuthority.lifetimes`.
  public init(
    authority: CertificateAuthority, names: [String], lifetime: TimeInterval, logger: Logger
  ) throws(IdentityError) {
    self.authority = authority
    self.names = names
    self.lifetime = lifetime
    self.logger = logger
    let signer = authority.signer
    let identity = try authority.issueServerCertificate(names: names, lifetime: lifetime)
    var schedule = RotationSchedule(now: Date())
    var random = SystemRandomNumberGenerator()
    schedule.succeeded(identity.certificate, now: Date(), using: &random)
    held = Mutex((identity, signer, schedule))
  }

  /// Renewed first where that is due.
  public var current: HeldIdentity {
    held.withLock { held in
      let now = Date()
      guard held.schedule.isDue(now: now) || held.signer != authority.signer else { return held.identity }
      var random = SystemRandomNumberGenerator()
      do throws(IdentityError) {
        // Read before signing: should the CA change in between, the next handshake signs once more.
        let signer = authority.signer
        held.identity = try authority.issueServerCertificate(names: names, lifetime: lifetime, now: now)
        held.signer = signer
        held.schedule.succeeded(held.identity.certificate, now: now, using: &random)
      } catch {
        held.schedule.failed(error.description, now: now, using: &random)
        logger.error("can't renew the control plane's own certificate: \(error)")
      }
      return held.identity
    }
  }

  public var sslContextConfigurationOverride: NIOSSLContextConfigurationOverride {
    var override = NIOSSLContextConfigurationOverride()
    let identity = current
    // Without an override the handshake fails, which is right: a certificate of our own that can't be read is a bug.
    override.certificateChain = try? identity.certificate.chain.map {
      .certificate(try NIOSSLCertificate(bytes: $0, format: .der))
    }
    override.privateKey = (try? NIOSSLPrivateKey(bytes: identity.key.pkcs8DER, format: .der)).map { .privateKey($0) }
    return override
  }
}

extension HeldIdentity {
  /// The chain for gRPC's transports.
  var certificateSources: [TLSConfig.CertificateSource] {
    certificate.chain.map { .bytes($0, format: .der) }
  }

  var privateKeySource: TLSConfig.PrivateKeySource { .bytes(key.pkcs8DER, format: .der) }
}

/// Checks a peer's chain against the mesh's roots in place of the TLS library, so that roots can change at run time
/// and a refusal has a reason.
enum HandshakeVerification {
  typealias Callback =
    @Sendable ([NIOSSLCertificate], EventLoopPromise<NIOSSLVerificationResultWithMetadata>) -> Void

  /// - Parameters:
  ///   - accept: has the last word on a peer whose chain is good; throws to refuse it.
  ///   - refused: is told why a handshake fails.
  static func callback(
    role: PeerVerifier.Role, bundle: @escaping @Sendable () -> TrustBundle,
    accept: @escaping @Sendable (VerifiedPeer) throws(IdentityError) -> Void = { (_) throws(IdentityError) in },
    refused: @escaping @Sendable (IdentityError) -> Void
  ) -> Callback {
    { certificates, promise in
      promise.completeWithTask {
        do {
          let chain = try certificates.map { try $0.toDERBytes() }
          let peer = try await PeerVerifier.verify(chain: chain, bundle: bundle(), role: role)
          try accept(peer)
          let verified = try peer.chain.map { try NIOSSLCertificate(bytes: $0, format: .der) }
          return .certificateVerified(.init(NIOSSL.ValidatedCertificateChain(verified)))
        } catch {
          refused(error as? IdentityError ?? IdentityError(.invalid, "the peer's certificate can't be read: \(error)"))
          return .failed
        }
      }
    }
  }
}
