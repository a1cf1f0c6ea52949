import Foundation
import MeshModel
import SwiftASN1
import Synchronization
import X509

/// The mesh's CA: a P-256 root whose key stays in `weft-control`'s state directory, or in a Secret, or an intermediate
/// of a user's own root.
public final class CertificateAuthority: Sendable {
  /// What a certificate may live: 1 minute to 90 days, in seconds.
  public static let lifetimes: ClosedRange<TimeInterval> = 60...(90 * 86400)
  public static let defaultLifetime: TimeInterval = 24 * 3600
  /// A certificate starts this many seconds before it is made, for nodes whose clock lags: by an hour, and what is lost of
  /// accuracy on the way.
  public static let backdating: TimeInterval = 3900

  private struct Current {
    var material: AuthorityMaterial
    var bundle: TrustBundle
  }

  public let trustDomain: TrustDomain
  /// nil: the CA isn't kept in files.
  private let stateDirectory: String?
  private let current: Mutex<Current>

  /// Opens the CA of a state directory, or makes one (key, then root) where there is none. An existing file is never
  /// overwritten.
  ///
  /// Refuses a key that others can read, that does not match the root, a root that is expired, or one of another
  /// trust domain.
  public init(stateDirectory: String, trustDomain: TrustDomain, now: Date = Date()) throws(IdentityError) {
    let material = try AuthorityState.open(directory: stateDirectory, trustDomain: trustDomain, now: now)
    self.trustDomain = trustDomain
    self.stateDirectory = stateDirectory
    current = Mutex(Current(material: material, bundle: material.bundle))
  }

  /// A CA that is kept elsewhere.
  public init(_ material: AuthorityMaterial) {
    trustDomain = material.bundle.trustDomain
    stateDirectory = nil
    current = Mutex(Current(material: material, bundle: material.bundle))
  }

  /// Signs with another key from now on, or has other roots. Refuses another trust domain.
  public func use(_ material: AuthorityMaterial) throws(IdentityError) {
    guard material.bundle.trustDomain == trustDomain else {
      throw IdentityError(.invalid, "the new CA's trust domain is \(material.bundle.trustDomain), not \(trustDomain)")
    }
    current.withLock { $0 = Current(material: material, bundle: material.bundle) }
  }

  /// The root in PEM: what agents are given.
  public var rootPEM: String {
    PEMDocument(type: "CERTIFICATE", derBytes: trustBundle.roots[0]).pemString + "\n"
  }

  public var material: AuthorityMaterial { current.withLock { $0.material } }

  /// Changes where another certificate signs from now on.
  package var signer: String { material.chainPEM }

  var root: Certificate { trustBundle.certificates[0] }

  /// What peers may chain to: the own root, then the further ones.
  public var trustBundle: TrustBundle { current.withLock { $0.bundle } }

  /// Reads `<state-dir>/roots/*.pem` again; on an error the bundle stays as it was.
  public func reloadRoots() throws(IdentityError) {
    guard let stateDirectory else { return }
    let fresh = try material.bundle(furtherRoots: AuthorityState.furtherRoots(stateDirectory))
    current.withLock { $0.bundle = fresh }
  }

  /// Signs for the identity that the caller was authorised for.
  ///
  /// - Parameters:
  ///   - csr: PKCS #10 in DER; must name exactly `subject` (see `SigningRequest`).
  ///   - lifetime: seconds, within `lifetimes`; cut at the root's end.
  public func sign(
    csr: [UInt8], for subject: CertificateSubject, lifetime: TimeInterval = defaultLifetime, now: Date = Date()
  ) throws(IdentityError) -> IssuedIdentity {
    try sign(SigningRequest(der: csr), for: subject, lifetime: lifetime, now: now)
  }

  /// The same for a request that was read already.
  public func sign(
    _ request: SigningRequest, for subject: CertificateSubject, lifetime: TimeInterval = defaultLifetime,
    now: Date = Date()
  ) throws(IdentityError) -> IssuedIdentity {
    guard request.subject == subject else {
      throw IdentityError(.denied, "the signing request is for \(request.subject), but \(subject) was authorised")
    }
    return try issue(
      names: [.uniformResourceIdentifier(subject.uri)], subject: subject, publicKey: request.publicKey,
      lifetime: lifetime, now: now)
  }

  /// A key and certificate made here, for tests and interoperation (`weft-control issue`).
  public func issue(
    for subject: CertificateSubject, lifetime: TimeInterval = defaultLifetime, now: Date = Date()
  ) throws(IdentityError) -> HeldIdentity {
    let key = WorkloadKey()
    return try HeldIdentity(
      key: key, certificate: sign(csr: key.signingRequest(for: subject), for: subject, lifetime: lifetime, now: now))
  }

  /// The control plane's own certificate: `spiffe://<trust-domain>/control`, and a SAN for each host name or address.
  ///
  /// - Parameter names: at most 64 host names or IP addresses.
  public func issueServerCertificate(
    names: [String], lifetime: TimeInterval = defaultLifetime, now: Date = Date()
  ) throws(IdentityError) -> HeldIdentity {
    let subject = CertificateSubject.control(trustDomain)
    var general: [GeneralName] = [.uniformResourceIdentifier(subject.uri)]
    guard names.count <= 64 else { throw IdentityError(.invalid, "a server certificate has at most 64 names") }
    for name in names {
      if let address = IPAddress(name) {
        general.append(.ipAddress(ASN1OctetString(contentBytes: address.bytes[...])))
      } else if DNSName.isSubdomain(name.lowercased()) {
        general.append(.dnsName(name.lowercased()))
      } else {
        throw IdentityError(.invalid, "\(name.prefix(256)) is neither a host name nor an IP address")
      }
    }
    let key = WorkloadKey()
    return try HeldIdentity(
      key: key,
      certificate: issue(
        names: general, subject: subject, publicKey: Certificate.PublicKey(key.key.publicKey), lifetime: lifetime,
        now: now))
  }

  private func issue(
    names: [GeneralName], subject: CertificateSubject, publicKey: Certificate.PublicKey, lifetime: TimeInterval,
    now: Date
  ) throws(IdentityError) -> IssuedIdentity {
    guard subject.trustDomain == trustDomain else {
      throw IdentityError(.denied, "\(subject) is not in this CA's trust domain \(trustDomain)")
    }
    guard Self.lifetimes.contains(lifetime) else {
      throw IdentityError(.invalid, "a certificate lives 1 minute to 90 days, not \(Int(lifetime)) seconds")
    }
    let material = material
    let issuer = material.issuer
    let notAfter = min(now.addingTimeInterval(lifetime), material.notAfter)
    guard notAfter.timeIntervalSince(now) >= Self.lifetimes.lowerBound else {
      throw IdentityError(.expired, "the root ends at \(material.notAfter); rotate it before anything can be signed")
    }
    do {
      let certificate = try CertificateTemplate.leaf(
        names: names, publicKey: publicKey,
        validity: (max(now.addingTimeInterval(-Self.backdating), issuer.notValidBefore), notAfter), issuer: issuer,
        issuerKey: material.key)
      return try IssuedIdentity(chain: [certificate.derBytes()] + material.intermediates)
    } catch let error as IdentityError {
      throw error
    } catch {
      throw IdentityError(.invalid, "can't sign for \(subject): \(error)")
    }
  }
}
