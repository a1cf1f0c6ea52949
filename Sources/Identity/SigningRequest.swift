import Crypto
import SwiftASN1
import X509

/// A PKCS #10 request that passed every check but the one of who may have it.
public struct SigningRequest: Sendable {
  public static let maximumBytes = 16 * 1024

  /// Whom the request names in its one SAN.
  public let subject: CertificateSubject
  let publicKey: Certificate.PublicKey

  /// Refuses more than 16 KiB, a signature that is not the key's, a key that is not P-256, and any SAN but one URI of
  /// the mesh. Everything else in the request is ignored: no attribute of it reaches the certificate.
  public init(der: [UInt8]) throws(IdentityError) {
    guard der.count <= Self.maximumBytes else {
      throw IdentityError(
        .invalid, "the signing request has \(der.count) bytes; at most \(Self.maximumBytes) are accepted")
    }
    guard let request = try? CertificateSigningRequest(derEncoded: der) else {
      throw IdentityError(.invalid, "the signing request is not PKCS #10 in DER")
    }
    guard P256.Signing.PublicKey(request.publicKey) != nil else {
      throw IdentityError(.invalid, "the signing request's key is not P-256; the mesh signs no other kind")
    }
    guard request.publicKey.isValidSignature(request.signature, for: request) else {
      throw IdentityError(.invalid, "the signing request's signature is not by the key that it holds")
    }
    guard let extensions = try? request.attributes.extensionRequest?.extensions,
      let names = try? extensions.subjectAlternativeNames, names.count == 1,
      case .uniformResourceIdentifier(let uri) = names[names.startIndex]
    else {
      throw IdentityError(.invalid, "the signing request must have exactly one SAN, the URI of its identity")
    }
    guard let subject = CertificateSubject(uri) else {
      throw IdentityError(.invalid, "the signing request's URI \(uri.prefix(256)) is not an identity of a mesh")
    }
    self.subject = subject
    publicKey = request.publicKey
  }
}
