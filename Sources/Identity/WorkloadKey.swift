import Crypto
import Foundation
import SwiftASN1
import X509

/// A P-256 private key made on this node. Nothing that prints, logs or mirrors it shows the key.
public struct WorkloadKey: Sendable {
  let key: P256.Signing.PrivateKey

  /// Makes a new key from the system's random source.
  public init() {
    key = P256.Signing.PrivateKey()
  }

  /// Reads a PKCS #8 private key.
  public init(pkcs8DER: [UInt8]) throws(IdentityError) {
    guard let key = try? P256.Signing.PrivateKey(derRepresentation: pkcs8DER) else {
      throw IdentityError(.invalid, "a private key is not a P-256 key in PKCS #8")
    }
    self.key = key
  }

  /// For TLS libraries. Secret: goes to memory, sockets of this node's proxy and files of mode 0600 only.
  public var pkcs8DER: [UInt8] { Array(key.derRepresentation) }

  /// The same as PEM; as secret.
  public var pkcs8PEM: String { key.pemRepresentation + "\n" }

  /// A PKCS #10 request in DER whose one SAN is the subject's URI.
  public func signingRequest(for subject: CertificateSubject) throws(IdentityError) -> [UInt8] {
    do {
      let extensions = try Certificate.Extensions {
        SubjectAlternativeNames([.uniformResourceIdentifier(subject.uri)])
      }
      let request = try CertificateSigningRequest(
        version: .v1, subject: DistinguishedName(), privateKey: Certificate.PrivateKey(key),
        attributes: .init([.init(ExtensionRequest(extensions: extensions))]), signatureAlgorithm: .ecdsaWithSHA256)
      return try request.derBytes()
    } catch {
      throw IdentityError(.invalid, "can't make a signing request for \(subject): \(error)")
    }
  }

  /// Whether the certificate is for this key.
  public func matches(certificateDER: [UInt8]) -> Bool {
    guard let certificate = try? Certificate(derEncoded: certificateDER) else { return false }
    return certificate.publicKey == Certificate.PublicKey(key.publicKey)
  }
}

extension WorkloadKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  public var description: String { "WorkloadKey(redacted)" }
  public var debugDescription: String { description }
  public var customMirror: Mirror { Mirror(self, children: []) }
}
