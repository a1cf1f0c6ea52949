import Crypto
import Foundation
import MeshModel
import SwiftASN1
import Testing
import X509

@testable import Identity

@Suite struct AuthorityMaterialTests {
  private func pem(_ der: [UInt8]) -> String { PEMDocument(type: "CERTIFICATE", derBytes: der).pemString }

  /// A CA's certificate as a person's own PKI makes it.
  private func intermediate(
    _ key: P256.Signing.PrivateKey, under root: AuthorityMaterial, isAuthority: Bool = true, days: Double = 10
  ) throws -> [UInt8] {
    let extensions = try Certificate.Extensions {
      if isAuthority {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
      } else {
        Critical(BasicConstraints.notCertificateAuthority)
      }
      Critical(KeyUsage(keyCertSign: true))
      // Not the hash that X.509 implementations mostly take.
      SubjectKeyIdentifier(keyIdentifier: [1, 2, 3, 4])
    }
    return try Certificate(
      version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey), notValidBefore: Date() - 60,
      notValidAfter: Date() + days * 86400, issuer: root.issuer.subject,
      subject: DistinguishedName { CommonName("mesh") }, extensions: extensions, issuerPrivateKey: root.key
    ).derBytes()
  }

  private func refusal(key: String, chain: String, roots: String? = nil) -> String? {
    sentence { () throws(IdentityError) in
      _ = try AuthorityMaterial(keyPEM: key, chainPEM: chain, rootsPEM: roots, trustDomain: domain, what: "the Secret")
    }
  }

  @Test func whatIsMadeIsReadAgain() throws {
    let made = try AuthorityMaterial(new: domain)
    let read = try AuthorityMaterial(
      keyPEM: made.keyPEM, chainPEM: made.chainPEM, trustDomain: domain, what: "the Secret")
    #expect(read == made && made.furtherRootsPEM.isEmpty)
    #expect("\(made)" == "AuthorityMaterial(redacted)" && String(reflecting: made) == "AuthorityMaterial(redacted)")
    var dumped = ""
    dump(made, to: &dumped)
    #expect(!dumped.contains("PRIVATE"))
  }

  @Test func anIntermediateSignsWhatChainsToItsRoot() async throws {
    let root = try AuthorityMaterial(new: domain)
    let key = P256.Signing.PrivateKey()
    let chain = pem(try intermediate(key, under: root))
    // SEC 1, as OpenSSL writes it, would do too.
    for (chain, roots) in [(chain, root.chainPEM), (chain + "\n" + root.chainPEM, nil)] {
      let material = try AuthorityMaterial(
        keyPEM: key.pemRepresentation, chainPEM: chain, rootsPEM: roots, trustDomain: domain, what: "the Secret")
      #expect(material.bundle == root.bundle)
      let authority = CertificateAuthority(material)
      #expect(authority.rootPEM == root.chainPEM)
      let issued = try authority.issue(for: reviews)
      #expect(issued.certificate.chain.count == 2)
      let peer = try await PeerVerifier.verify(chain: issued.certificate.chain, bundle: root.bundle, role: .client)
      #expect(peer.subject == reviews)
      let leaf = try Certificate(derEncoded: issued.certificate.chain[0])
      #expect(try leaf.extensions.authorityKeyIdentifier?.keyIdentifier == [1, 2, 3, 4])
      // A leaf outlives nothing that it hangs on.
      let long = try authority.issue(for: reviews, lifetime: 60 * 86400)
      #expect(long.certificate.notAfter <= material.notAfter)
    }
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let root = try AuthorityMaterial(new: domain)
    let other = try AuthorityMaterial(new: domain)
    let key = P256.Signing.PrivateKey()
    let chain = pem(try intermediate(key, under: root))
    #expect(refusal(key: "x", chain: chain)?.contains("ca.key is not a P-256 private key") == true)
    #expect(refusal(key: root.keyPEM, chain: chain, roots: root.chainPEM)?.contains("not the key of ca.pem") == true)
    #expect(refusal(key: key.pemRepresentation, chain: chain) != nil)
    #expect(
      refusal(key: key.pemRepresentation, chain: chain, roots: other.chainPEM)?.contains("signed neither") == true)
    #expect(refusal(key: key.pemRepresentation, chain: "x", roots: root.chainPEM)?.contains("PEM CERTIFICATE") == true)
    let leaf = pem(try intermediate(key, under: root, isAuthority: false))
    #expect(refusal(key: key.pemRepresentation, chain: leaf, roots: root.chainPEM)?.contains("not a CA's") == true)
    let old = pem(try intermediate(key, under: root, days: -0.0001))
    #expect(refusal(key: key.pemRepresentation, chain: old, roots: root.chainPEM)?.contains("expired") == true)
    let elsewhere = try AuthorityMaterial(new: TrustDomain("elsewhere")!)
    #expect(refusal(key: elsewhere.keyPEM, chain: elsewhere.chainPEM)?.contains("trust domain elsewhere") == true)
  }

  @Test func anotherKeySignsFromTheMomentItIsUsed() throws {
    let first = try AuthorityMaterial(new: domain)
    let authority = CertificateAuthority(first)
    let before = authority.signer
    let made = try AuthorityMaterial(new: domain)
    let second = try AuthorityMaterial(
      keyPEM: made.keyPEM, chainPEM: made.chainPEM, rootsPEM: first.chainPEM, trustDomain: domain, what: "the Secret")
    try authority.use(second)
    #expect(authority.signer != before && authority.trustBundle.roots.count == 2)
    let leaf = try Certificate(derEncoded: authority.issue(for: reviews).certificate.chain[0])
    #expect(second.issuer.publicKey.isValidSignature(leaf.signature, for: leaf))
    let elsewhere = try AuthorityMaterial(new: TrustDomain("elsewhere")!)
    #expect(sentence { () throws(IdentityError) in try authority.use(elsewhere) } != nil)
    #expect(authority.material == second)
  }
}
