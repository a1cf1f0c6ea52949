import Foundation
import MeshModel
import SwiftASN1
import X509

/// A certificate chain as the CA gave it.
public struct IssuedIdentity: Hashable, Sendable {
  /// At most this many certificates in a chain, and this many bytes in each.
  public static let maximumChain = 8
  public static let maximumCertificateBytes = 16 * 1024

  public let subject: CertificateSubject
  /// DER, leaf first, without the root.
  public let chain: [[UInt8]]
  public let notBefore: Date
  public let notAfter: Date
  /// Lower-case hexadecimal.
  public let serial: String

  /// The one URI SAN.
  public var spiffeID: String { subject.uri }

  /// Reads what it holds from the leaf. The signatures are not checked: see `PeerVerifier`.
  public init(chain: [[UInt8]]) throws(IdentityError) {
    guard (1...Self.maximumChain).contains(chain.count),
      chain.allSatisfy({ $0.count <= Self.maximumCertificateBytes }), let leaf = try? Certificate(derEncoded: chain[0])
    else {
      throw IdentityError(.invalid, "a certificate chain is not 1 to \(Self.maximumChain) X.509 certificates")
    }
    try self.init(leaf: leaf, chain: chain)
  }

  /// The same from a certificate that a TLS library has parsed.
  package init(certificate: Certificate) throws(IdentityError) {
    guard let der = try? certificate.derBytes() else {
      throw IdentityError(.invalid, "a certificate can't be encoded in DER")
    }
    try self.init(leaf: certificate, chain: [der])
  }

  private init(leaf: Certificate, chain: [[UInt8]]) throws(IdentityError) {
    let uris = SubjectNames(leaf).uris
    guard uris.count == 1, let subject = CertificateSubject(uris[0]) else {
      throw IdentityError(.invalid, "a certificate must name one identity of the mesh in its URI SAN; it has \(uris)")
    }
    self.subject = subject
    self.chain = chain
    notBefore = leaf.notValidBefore
    notAfter = leaf.notValidAfter
    serial = leaf.serialNumber.bytes.map { byte in
      let hex = String(byte, radix: 16)
      return hex.count == 1 ? "0" + hex : hex
    }.joined()
  }

  /// The end of the intermediate that signed it; nil: a root did.
  public var signerNotAfter: Date? {
    chain.count > 1 ? (try? Certificate(derEncoded: chain[1]))?.notValidAfter : nil
  }

  /// The chain in PEM, leaf first.
  public var pem: String {
    chain.map { PEMDocument(type: "CERTIFICATE", derBytes: $0).pemString + "\n" }.joined()
  }
}

/// A certificate together with its key.
public struct HeldIdentity: Sendable {
  public let key: WorkloadKey
  public let certificate: IssuedIdentity

  /// Refuses a certificate that is for another key.
  public init(key: WorkloadKey, certificate: IssuedIdentity) throws(IdentityError) {
    guard key.matches(certificateDER: certificate.chain[0]) else {
      throw IdentityError(.invalid, "the certificate of \(certificate.spiffeID) is for another private key")
    }
    self.key = key
    self.certificate = certificate
  }

  public var subject: CertificateSubject { certificate.subject }
}

/// The names in a certificate's SAN extension, by kind.
struct SubjectNames {
  var uris: [String] = []
  var dnsNames: [String] = []
  var addresses: [IPAddress] = []

  init(_ certificate: Certificate) {
    guard let names = try? certificate.extensions.subjectAlternativeNames else { return }
    for name in names {
      switch name {
      case .uniformResourceIdentifier(let uri): uris.append(uri)
      case .dnsName(let dns): dnsNames.append(dns.lowercased())
      case .ipAddress(let octets): if let address = IPAddress(bytes: octets.bytes) { addresses.append(address) }
      default: break
      }
    }
  }
}
