import Crypto
import Foundation
import NIOSSL
import SwiftASN1
import X509

/// A kubelet's own self-signed certificate: the API server takes any, as with most clusters' kubelets.
enum ServingCertificate {
  /// Of the server's side of TLS.
  /// - Parameters:
  ///   - node: the node's name.
  ///   - clientAuthority: PEM; only clients with a certificate that it signed are served. nil: everyone who can reach
  ///     the port is, which suits a network that only the lab's own programs are in.
  static func tls(node: String, clientAuthority: [UInt8]?) throws -> TLSConfiguration {
    let key = P256.Signing.PrivateKey()
    let der = try make(node: node, key: Certificate.PrivateKey(key))
    var tls = TLSConfiguration.makeServerConfiguration(
      certificateChain: [.certificate(try NIOSSLCertificate(bytes: der, format: .der))],
      privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.derRepresentation), format: .der)))
    tls.minimumTLSVersion = .tlsv12
    if let clientAuthority {
      tls.certificateVerification = .noHostnameVerification
      tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(clientAuthority))
    }
    return tls
  }

  private static func make(node: String, key: Certificate.PrivateKey) throws -> [UInt8] {
    let name = try DistinguishedName { CommonName(node) }
    let now = Date()
    let certificate = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key.publicKey,
      notValidBefore: now.addingTimeInterval(-300), notValidAfter: now.addingTimeInterval(365 * 86400), issuer: name,
      subject: name, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        try ExtendedKeyUsage([.serverAuth])
        SubjectAlternativeNames([.dnsName(node)])
      }, issuerPrivateKey: key)
    var serializer = DER.Serializer()
    try serializer.serialize(certificate)
    return serializer.serializedBytes
  }
}
