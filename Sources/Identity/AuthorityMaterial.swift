import Crypto
import Foundation
import MeshModel
import SwiftASN1
import X509

/// What a CA signs with: its key, its certificate, and the roots that peers may chain to. They belong together, or there
/// is no such value. Nothing that prints, logs or mirrors it shows the key.
public struct AuthorityMaterial: Sendable {
  let key: Certificate.PrivateKey
  /// Of the key.
  let issuer: Certificate
  /// DER of the issuer and of those between it and a root, which is how peers find the way; none where it is a root.
  let intermediates: [[UInt8]]
  /// The own root first.
  public let bundle: TrustBundle
  /// PKCS #8. Secret: goes to a Secret or a file of mode 0600 only.
  public let keyPEM: String
  private let chain: [[UInt8]]
  /// When the issuer, or what it chains to, ends.
  public let notAfter: Date

  /// The issuer first.
  public var chainPEM: String { chain.map { PEMDocument(type: "CERTIFICATE", derBytes: $0).pemString + "\n" }.joined() }

  /// The roots that `chainPEM` doesn't hold; empty: none.
  public var furtherRootsPEM: String {
    bundle.roots.filter { !chain.contains($0) }
      .map { PEMDocument(type: "CERTIFICATE", derBytes: $0).pemString + "\n" }.joined()
  }

  /// Reads a CA.
  ///
  /// - Parameters:
  ///   - keyPEM: P-256, PKCS #8 or SEC 1.
  ///   - chainPEM: the key's certificate first, then those above it; it or the last one may be a root.
  ///   - rootsPEM: further roots; nil: none.
  ///   - what: what errors call where it comes from.
  /// - Throws: what doesn't fit, and how it has to be.
  public init(
    keyPEM: String, chainPEM: String, rootsPEM: String? = nil, trustDomain: TrustDomain, what: String,
    now: Date = Date()
  ) throws(IdentityError) {
    guard let key = try? P256.Signing.PrivateKey(pemRepresentation: keyPEM) else {
      throw IdentityError(.invalid, "\(what): ca.key is not a P-256 private key in PEM")
    }
    let chain = try TrustBundle.certificates(pem: chainPEM, what: "\(what): ca.pem")
    guard chain.count <= IssuedIdentity.maximumChain else {
      throw IdentityError(.invalid, "\(what): ca.pem has more than \(IssuedIdentity.maximumChain) certificates")
    }
    let further = try rootsPEM.map { pem throws(IdentityError) in
      try TrustBundle.certificates(pem: pem, what: "\(what): roots.pem")
    }
    try self.init(
      key: key, chain: chain, furtherRoots: further ?? [], trustDomain: trustDomain, what: what, now: now)
  }

  /// Makes a key and its self-signed root, which lives ten years.
  public init(new trustDomain: TrustDomain, now: Date = Date()) throws(IdentityError) {
    let key = P256.Signing.PrivateKey()
    let root: [UInt8]
    do {
      root = try CertificateTemplate.root(trustDomain: trustDomain, key: Certificate.PrivateKey(key), now: now)
        .derBytes()
    } catch {
      throw IdentityError(.invalid, "can't make the root certificate: \(error)")
    }
    try self.init(
      key: key, chain: [root], furtherRoots: [], trustDomain: trustDomain, what: "the new CA", now: now)
  }

  init(
    key: P256.Signing.PrivateKey, chain: [[UInt8]], furtherRoots: [[UInt8]], trustDomain: TrustDomain, what: String,
    now: Date
  ) throws(IdentityError) {
    var certificates: [Certificate] = []
    for der in chain {
      guard let certificate = try? Certificate(derEncoded: der) else {
        throw IdentityError(.invalid, "\(what) does not hold an X.509 certificate")
      }
      guard now < certificate.notValidAfter else {
        throw IdentityError(
          .expired, "\(what): the certificate \(certificate.subject) expired at \(certificate.notValidAfter)")
      }
      certificates.append(certificate)
    }
    let own = Certificate.PrivateKey(key)
    guard let issuer = certificates.first, issuer.publicKey == own.publicKey else {
      throw IdentityError(.invalid, "\(what): ca.key is not the key of ca.pem; restore the pair from one backup")
    }
    let isRooted = certificates.last.map { Self.isSigned($0, by: $0) } == true
    let roots = (isRooted ? chain.suffix(1) : []) + furtherRoots
    let bundle: TrustBundle
    do {
      bundle = try TrustBundle(der: Array(roots))
    } catch {
      throw IdentityError(error.kind, "\(what): \(error)")
    }
    guard bundle.trustDomain == trustDomain else {
      throw IdentityError(
        .invalid, "\(what) is a CA of the trust domain \(bundle.trustDomain), and this mesh's is \(trustDomain)")
    }
    try Self.check(certificates, bundle, what)
    self.key = own
    self.issuer = issuer
    self.bundle = bundle
    intermediates = isRooted ? Array(chain.dropLast()) : chain
    keyPEM = key.pemRepresentation + "\n"
    self.chain = chain
    notAfter = certificates.map(\.notValidAfter).min() ?? issuer.notValidAfter
  }

  /// Each certificate is a CA's and is signed by the next one, the last one by a root.
  private static func check(
    _ chain: [Certificate], _ bundle: TrustBundle, _ what: String
  ) throws(IdentityError) {
    for (index, certificate) in chain.enumerated() {
      guard let constraints = try? certificate.extensions.basicConstraints, case .isCertificateAuthority = constraints
      else {
        throw IdentityError(.invalid, "\(what): the certificate \(certificate.subject) is not a CA's")
      }
      if let usage = try? certificate.extensions.keyUsage, !usage.keyCertSign {
        throw IdentityError(.invalid, "\(what): the certificate \(certificate.subject) may not sign certificates")
      }
      let next = index + 1 < chain.count ? [chain[index + 1]] : bundle.certificates
      guard next.contains(where: { isSigned(certificate, by: $0) }) else {
        throw IdentityError(
          .invalid,
          "\(what): the certificate \(certificate.subject) is signed neither by the next one in ca.pem nor by a root")
      }
    }
  }

  private static func isSigned(_ certificate: Certificate, by issuer: Certificate) -> Bool {
    certificate.issuer == issuer.subject && issuer.publicKey.isValidSignature(certificate.signature, for: certificate)
  }

  /// The same CA with other further roots.
  func bundle(furtherRoots: [[UInt8]]) throws(IdentityError) -> TrustBundle {
    try TrustBundle(der: Array(bundle.roots.prefix(1)) + furtherRoots)
  }
}

extension AuthorityMaterial: Equatable {
  public static func == (left: AuthorityMaterial, right: AuthorityMaterial) -> Bool {
    left.issuer == right.issuer && left.intermediates == right.intermediates && left.bundle == right.bundle
  }
}

extension AuthorityMaterial: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  public var description: String { "AuthorityMaterial(redacted)" }
  public var debugDescription: String { description }
  public var customMirror: Swift.Mirror { Swift.Mirror(self, children: []) }
}
