import Foundation
import MeshModel
import SwiftASN1
import X509

/// The roots that peers may chain to, the CA's own first. More than one while a root is being rotated.
public struct TrustBundle: Hashable, Sendable {
  /// At most this many roots.
  public static let maximumRoots = 16
  /// At most this many bytes of PEM are read.
  public static let maximumBytes = 256 * 1024

  /// DER, 1 to 16 of them, without duplicates.
  public let roots: [[UInt8]]
  /// The one that all roots name in their URI SAN.
  public let trustDomain: TrustDomain
  let certificates: [Certificate]

  public struct Root: Hashable, Sendable {
    public let subject: String
    public let notAfter: Date
  }

  /// Refuses a certificate that is not a CA, that names no trust domain in a URI SAN `spiffe://<trust-domain>`, or
  /// that names another one than the first.
  public init(der roots: [[UInt8]]) throws(IdentityError) {
    var unique: [[UInt8]] = []
    var certificates: [Certificate] = []
    var domain: TrustDomain?
    for root in roots where !unique.contains(root) {
      guard let certificate = try? Certificate(derEncoded: root) else {
        throw IdentityError(.invalid, "a root of the trust bundle is not an X.509 certificate")
      }
      guard let constraints = try? certificate.extensions.basicConstraints, case .isCertificateAuthority = constraints
      else {
        throw IdentityError(.invalid, "the certificate \(certificate.subject) in the trust bundle is not a CA's")
      }
      guard let own = Self.trustDomain(of: certificate), domain == nil || own == domain else {
        throw IdentityError(
          .invalid, "the root \(certificate.subject) does not name the mesh's trust domain in a SAN spiffe://DOMAIN")
      }
      domain = own
      unique.append(root)
      certificates.append(certificate)
    }
    guard let domain, unique.count <= Self.maximumRoots else {
      throw IdentityError(.invalid, "a trust bundle has 1 to \(Self.maximumRoots) roots; this one has \(unique.count)")
    }
    self.roots = unique
    self.trustDomain = domain
    self.certificates = certificates
  }

  /// Reads `CERTIFICATE` blocks; anything else in the text is refused.
  public init(pem: String) throws(IdentityError) {
    try self.init(der: Self.certificates(pem: pem, what: "the trust bundle"))
  }

  /// Reads a PEM file, such as the agent's `--ca-file`.
  public init(file path: String) throws(IdentityError) {
    guard let bytes = try SecureFile.read(path, maximumBytes: Self.maximumBytes, isPrivate: false) else {
      throw IdentityError(.file(ENOENT), "there is no CA file \(path); copy ca.pem from weft-control's state directory")
    }
    do {
      try self.init(pem: String(decoding: bytes, as: UTF8.self))
    } catch {
      throw IdentityError(error.kind, "\(path): \(error)")
    }
  }

  public var pem: String {
    roots.map { PEMDocument(type: "CERTIFICATE", derBytes: $0).pemString + "\n" }.joined()
  }

  /// For people: what `weft identity` shows.
  public var descriptions: [Root] {
    certificates.map { Root(subject: $0.subject.description, notAfter: $0.notValidAfter) }
  }

  static func certificates(pem: String, what: String) throws(IdentityError) -> [[UInt8]] {
    guard let documents = try? PEMDocument.parseMultiple(pemString: pem), !documents.isEmpty,
      documents.allSatisfy({ $0.discriminator == "CERTIFICATE" })
    else {
      throw IdentityError(.invalid, "\(what) is not a list of PEM CERTIFICATE blocks")
    }
    return documents.map(\.derBytes)
  }

  /// Of a root: the one URI SAN without a path (SPIFFE X509-SVID §4.1).
  static func trustDomain(of root: Certificate) -> TrustDomain? {
    let prefix = "spiffe://"
    guard let names = try? root.extensions.subjectAlternativeNames else { return nil }
    let domains = names.compactMap { name -> TrustDomain? in
      guard case .uniformResourceIdentifier(let uri) = name, uri.hasPrefix(prefix) else { return nil }
      return TrustDomain(String(uri.dropFirst(prefix.count)))
    }
    return domains.count == 1 ? domains[0] : nil
  }
}
