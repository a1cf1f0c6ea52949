import Crypto
import Foundation
import MeshModel
import SwiftASN1
import X509

/// What the mesh's certificates look like.
enum CertificateTemplate {
  /// SPIFFE X509-SVID §4: signs nothing but handshakes, for both ends of a connection.
  static func leaf(
    names: [GeneralName], publicKey: Certificate.PublicKey, validity: (notBefore: Date, notAfter: Date),
    issuer: Certificate, issuerKey: Certificate.PrivateKey
  ) throws -> Certificate {
    // A user's intermediate may have another kind of identifier (RFC 7093).
    let named = try issuer.extensions.subjectKeyIdentifier
    let issuerID = (named ?? SubjectKeyIdentifier(hash: issuer.publicKey)).keyIdentifier
    let extensions = try Certificate.Extensions {
      Critical(BasicConstraints.notCertificateAuthority)
      Critical(KeyUsage(digitalSignature: true))
      try ExtendedKeyUsage([.serverAuth, .clientAuth])
      SubjectKeyIdentifier(hash: publicKey)
      AuthorityKeyIdentifier(keyIdentifier: issuerID)
      // Critical because there is no subject (RFC 5280 §4.2.1.6).
      Critical(SubjectAlternativeNames(names))
    }
    return try Certificate(
      version: .v3, serialNumber: serial(), publicKey: publicKey, notValidBefore: validity.notBefore,
      notValidAfter: validity.notAfter, issuer: issuer.subject, subject: DistinguishedName(),
      signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions, issuerPrivateKey: issuerKey)
  }

  static func root(trustDomain: TrustDomain, key: Certificate.PrivateKey, now: Date) throws -> Certificate {
    let name = try DistinguishedName {
      CommonName("weft root")
    }
    let extensions = try Certificate.Extensions {
      Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
      Critical(KeyUsage(keyCertSign: true, cRLSign: true))
      SubjectKeyIdentifier(hash: key.publicKey)
      SubjectAlternativeNames([.uniformResourceIdentifier("spiffe://\(trustDomain.name)")])
    }
    return try Certificate(
      version: .v3, serialNumber: serial(), publicKey: key.publicKey,
      notValidBefore: now.addingTimeInterval(-2 * CertificateAuthority.backdating),
      notValidAfter: now.addingTimeInterval(10 * 365.25 * 86400), issuer: name, subject: name,
      signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions, issuerPrivateKey: key)
  }

  private static func serial() -> Certificate.SerialNumber {
    var random = SystemRandomNumberGenerator()
    return Certificate.SerialNumber(bytes: (0..<16).map { _ in UInt8.random(in: 0...255, using: &random) })
  }
}

extension DERSerializable {
  func derBytes() throws -> [UInt8] {
    var serializer = DER.Serializer()
    try serializer.serialize(self)
    return serializer.serializedBytes
  }
}
