import Foundation
import MeshModel
import SwiftASN1
@_spi(FixedExpiryValidationTime) import X509

/// A peer whose chain leads to a root of the bundle. Who it is has been proven, not what it may do.
public struct VerifiedPeer: Sendable {
  /// Whom the certificate names; nil unless it has exactly one URI SAN that is an identity of the bundle's domain.
  public let subject: CertificateSubject?
  /// Lower case.
  public let dnsNames: [String]
  public let addresses: [IPAddress]
  /// When the leaf ends.
  public let notAfter: Date
  /// DER, leaf first, root last.
  public let chain: [[UInt8]]

  /// Whether a SAN is this host name (exactly, no wildcards) or address.
  public func isNamed(_ host: String) -> Bool {
    if let address = IPAddress(host) { return addresses.contains(address) }
    return dnsNames.contains(host.lowercased())
  }
}

/// Checks the certificates that a peer presented in a TLS handshake (RFC 5280 §6 with the mesh's roots).
public enum PeerVerifier {
  public enum Role: Sendable {
    case client, server
  }

  /// - Parameters:
  ///   - chain: DER as the peer sent it, leaf first; at most `IssuedIdentity.maximumChain`.
  ///   - role: what the peer is in this connection; its certificate must be for that (extended key usage).
  public static func verify(
    chain: [[UInt8]], bundle: TrustBundle, role: Role, now: Date = Date()
  ) async throws(IdentityError) -> VerifiedPeer {
    guard (1...IssuedIdentity.maximumChain).contains(chain.count) else {
      throw IdentityError(
        .invalid, "the peer sent \(chain.count) certificates; 1 to \(IssuedIdentity.maximumChain) pass")
    }
    var certificates: [Certificate] = []
    for der in chain {
      guard der.count <= IssuedIdentity.maximumCertificateBytes, let certificate = try? Certificate(derEncoded: der)
      else { throw IdentityError(.invalid, "the peer's certificate is not X.509 in DER of at most 16 KiB") }
      certificates.append(certificate)
    }
    let leaf = certificates[0]
    let names = SubjectNames(leaf)
    let who = names.uris.first ?? names.dnsNames.first ?? leaf.subject.description
    guard now >= leaf.notValidBefore else {
      throw IdentityError(
        .expired, "the peer's certificate (\(who)) is not valid before \(iso(leaf.notValidBefore)); \(clock(now))")
    }
    guard now < leaf.notValidAfter else {
      throw IdentityError(
        .expired, "the peer's certificate (\(who)) expired at \(iso(leaf.notValidAfter)); \(clock(now))")
    }
    var verifier = Verifier(rootCertificates: CertificateStore(bundle.certificates)) {
      RFC5280Policy(fixedExpiryValidationTime: now)
      UsagePolicy(role: role)
    }
    let result = await verifier.validate(leaf: leaf, intermediates: CertificateStore(certificates.dropFirst()))
    guard case .validCertificate(let valid) = result else {
      let reasons =
        if case .couldNotValidate(let failures) = result { failures.map { "\($0.policyFailureReason)" } } else {
          [String]()
        }
      let why = reasons.first.map { ": \($0)" } ?? ", or by a root of this mesh"
      throw IdentityError(.denied, "the peer's certificate (\(who)) was not issued by this mesh's CA\(why)")
    }
    let subject = names.uris.count == 1 ? CertificateSubject(names.uris[0]) : nil
    var verified: [[UInt8]] = []
    for certificate in valid {
      guard let der = try? certificate.derBytes() else {
        throw IdentityError(.invalid, "the peer's certificate (\(who)) can't be encoded again")
      }
      verified.append(der)
    }
    return VerifiedPeer(
      subject: subject?.trustDomain == bundle.trustDomain ? subject : nil, dnsNames: names.dnsNames,
      addresses: names.addresses, notAfter: leaf.notValidAfter, chain: verified)
  }

  private static func iso(_ date: Date) -> String { date.formatted(.iso8601) }

  /// Which of the two is wrong only its reader knows.
  private static func clock(_ now: Date) -> String { "the clock here says \(iso(now))" }
}

/// What RFC5280Policy leaves to its user: the usages of the leaf, and the critical SAN of a certificate without subject.
private struct UsagePolicy: VerifierPolicy {
  let role: PeerVerifier.Role
  let verifyingCriticalExtensions: [ASN1ObjectIdentifier] = [
    .X509ExtensionID.subjectAlternativeName, .X509ExtensionID.extendedKeyUsage,
  ]

  func chainMeetsPolicyRequirements(chain: UnverifiedCertificateChain) -> PolicyEvaluationResult {
    let leaf = chain.leaf
    let wanted: ExtendedKeyUsage.Usage = role == .client ? .clientAuth : .serverAuth
    guard let usages = try? leaf.extensions.extendedKeyUsage, usages.contains(wanted) else {
      return .failsToMeetPolicy(reason: "it is not for a TLS \(role)")
    }
    if let constraints = try? leaf.extensions.basicConstraints, case .isCertificateAuthority = constraints {
      return .failsToMeetPolicy(reason: "it is a CA's own certificate")
    }
    for issuer in chain.dropFirst() {
      if let usage = try? issuer.extensions.keyUsage, !usage.keyCertSign {
        return .failsToMeetPolicy(reason: "its issuer may not sign certificates")
      }
    }
    return .meetsPolicy
  }
}
