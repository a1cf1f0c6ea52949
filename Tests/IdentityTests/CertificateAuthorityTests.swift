import Crypto
import Foundation
import MeshModel
import SwiftASN1
import Testing
import X509

@testable import Identity

@Suite struct CertificateAuthorityTests {
  let directory = try! TemporaryDirectory()  // A test without a directory can't go on.
  var state: String { directory.path + "/state" }

  @Test func makesAPrivateKeyAndAPublicRootOnce() throws {
    let first = try CertificateAuthority(stateDirectory: state, trustDomain: domain)
    #expect(try permissions(state + "/ca.key") == 0o600)
    #expect(try permissions(state + "/ca.pem") == 0o644)
    #expect(try permissions(state) == 0o700)
    #expect(try String(contentsOfFile: state + "/ca.pem", encoding: .utf8) == first.rootPEM)
    let second = try CertificateAuthority(stateDirectory: state, trustDomain: domain)
    #expect(second.rootPEM == first.rootPEM)
    #expect(first.root.subject.description.contains("weft root"))
    let years = first.root.notValidAfter.timeIntervalSinceNow / (365.25 * 86400)
    #expect((9.9...10.1).contains(years))
    #expect(try FileManager.default.contentsOfDirectory(atPath: state).sorted() == ["ca.key", "ca.pem"])
  }

  @Test func leafSaysExactlyTheAuthorisedIdentity() throws {
    let authority = try CertificateAuthority(stateDirectory: state, trustDomain: domain)
    let now = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.down))
    let key = WorkloadKey()
    let issued = try authority.sign(csr: key.signingRequest(for: reviews), for: reviews, now: now)
    let leaf = try Certificate(derEncoded: issued.chain[0])
    #expect(issued.chain.count == 1)
    #expect(issued.subject == reviews)
    #expect(
      try Array(#require(try leaf.extensions.subjectAlternativeNames)) == [.uniformResourceIdentifier(reviews.uri)])
    #expect(leaf.extensions[oid: .X509ExtensionID.subjectAlternativeName]?.critical == true)
    #expect(leaf.subject.isEmpty)
    #expect(try #require(try leaf.extensions.keyUsage) == KeyUsage(digitalSignature: true))
    let usages = try #require(try leaf.extensions.extendedKeyUsage)
    #expect(usages.count == 2 && usages.contains(.serverAuth) && usages.contains(.clientAuth))
    #expect(try leaf.extensions.basicConstraints == .notCertificateAuthority)
    let start = now.addingTimeInterval(-CertificateAuthority.backdating)
    #expect(leaf.notValidBefore == max(start, authority.root.notValidBefore))
    #expect(leaf.notValidAfter == now.addingTimeInterval(24 * 3600))
    #expect(authority.root.publicKey.isValidSignature(leaf.signature, for: leaf))
    #expect(key.matches(certificateDER: issued.chain[0]) && !WorkloadKey().matches(certificateDER: issued.chain[0]))
  }

  @Test func serialsAreRandomAndLong() throws {
    let authority = try CertificateAuthority(stateDirectory: state, trustDomain: domain)
    let serials = try (0..<50).map { _ in try authority.issue(for: reviews).certificate.serial }
    #expect(Set(serials).count == 50)
    #expect(serials.contains { $0.count >= 30 } && serials.allSatisfy { $0.count <= 34 })
  }

  @Test func lifetimeIsBoundedAndCutAtTheRootsEnd() throws {
    let authority = try CertificateAuthority(stateDirectory: state, trustDomain: domain)
    for lifetime in [0, 59, 90 * 86400 + 1, -5] as [TimeInterval] {
      #expect(
        sentence { () throws(IdentityError) in _ = try authority.issue(for: reviews, lifetime: lifetime) }?
          .contains("1 minute to 90 days") == true)
    }
    let end = authority.root.notValidAfter
    let late = try authority.issue(for: reviews, now: end.addingTimeInterval(-3600))
    #expect(late.certificate.notAfter == end)
    #expect(
      sentence { () throws(IdentityError) in
        _ = try authority.issue(for: reviews, now: end.addingTimeInterval(-30))
      }?.contains("rotate") == true)
  }

  @Test func refusesRequestsThatAreNotWhatTheySay() throws {
    let authority = try CertificateAuthority(stateDirectory: state, trustDomain: domain)
    let key = WorkloadKey()
    let good = try key.signingRequest(for: reviews)
    func refusal(_ csr: [UInt8]) -> String? {
      sentence { () throws(IdentityError) in _ = try authority.sign(csr: csr, for: reviews) }
    }
    #expect(refusal(good) == nil)
    var forged = good
    forged[forged.count - 1] ^= 1
    #expect(refusal(forged)?.contains("signature") == true)
    #expect(refusal(good + Array(repeating: 0, count: 16 * 1024))?.contains("at most 16384") == true)
    #expect(refusal([]) != nil)
    #expect(refusal(Array("not a request".utf8))?.contains("PKCS #10") == true)
    #expect(refusal(Array(good.dropLast(5))) != nil)
    #expect(try refusal(request(names: [], p384: false))?.contains("exactly one SAN") == true)
    let uri = GeneralName.uniformResourceIdentifier(reviews.uri)
    #expect(try refusal(request(names: [uri, .dnsName("reviews")], p384: false))?.contains("exactly one SAN") == true)
    #expect(try refusal(request(names: [.dnsName("reviews")], p384: false))?.contains("exactly one SAN") == true)
    #expect(try refusal(request(names: [uri], p384: true))?.contains("P-256") == true)
    let other = CertificateSubject("spiffe://cluster.local/ns/shop/sa/ratings")!
    #expect(try refusal(key.signingRequest(for: other))?.contains("was authorised") == true)
    let foreign = CertificateSubject("spiffe://elsewhere/ns/shop/sa/reviews")!
    #expect(
      sentence { () throws(IdentityError) in _ = try authority.issue(for: foreign) }?
        .contains("trust domain") == true)
  }

  @Test func serverCertificateHasItsNames() throws {
    let authority = try CertificateAuthority(stateDirectory: state, trustDomain: domain)
    let held = try authority.issueServerCertificate(names: ["control.weft", "10.200.0.1", "fd00:200::1"])
    let names = SubjectNames(try Certificate(derEncoded: held.certificate.chain[0]))
    #expect(names.uris == ["spiffe://cluster.local/control"])
    #expect(names.dnsNames == ["control.weft"])
    #expect(names.addresses == [IPAddress("10.200.0.1")!, IPAddress("fd00:200::1")!])
    #expect(sentence { () throws(IdentityError) in _ = try authority.issueServerCertificate(names: ["a b"]) } != nil)
  }

  @Test func refusesAKeyThatOthersCanRead() throws {
    _ = try CertificateAuthority(stateDirectory: state, trustDomain: domain)
    chmod(state + "/ca.key", 0o640)
    let why = open()
    #expect(why?.contains("chmod 600") == true)
  }

  @Test func refusesStateThatDoesNotFit() throws {
    let other = directory.path + "/other"
    let authority = try CertificateAuthority(stateDirectory: state, trustDomain: domain)
    _ = try CertificateAuthority(stateDirectory: other, trustDomain: domain)
    #expect(open(domain: TrustDomain("elsewhere")!)?.contains("another trust domain") == true)
    #expect(open(now: authority.root.notValidAfter)?.contains("expired") == true)
    let key = try String(contentsOfFile: state + "/ca.key", encoding: .utf8)
    try FileManager.default.removeItem(atPath: state + "/ca.key")
    #expect(open()?.contains("no ca.key") == true)
    try FileManager.default.copyItem(atPath: other + "/ca.key", toPath: state + "/ca.key")
    #expect(open()?.contains("is not the key of") == true)
    try "garbage".write(toFile: state + "/ca.key", atomically: false, encoding: .utf8)
    #expect(open()?.contains("is not a P-256 private key") == true)
    try key.write(toFile: state + "/ca.key", atomically: false, encoding: .utf8)
    #expect(open() == nil)
    try "garbage".write(toFile: state + "/ca.pem", atomically: false, encoding: .utf8)
    #expect(open()?.contains("PEM CERTIFICATE") == true)
  }

  @Test func oldRootsStayTrustedWhileTheyAreRotatedOut() throws {
    let old = try CertificateAuthority(stateDirectory: directory.path + "/old", trustDomain: domain)
    let authority = try CertificateAuthority(stateDirectory: state, trustDomain: domain)
    #expect(authority.trustBundle.roots.count == 1)
    try FileManager.default.createDirectory(atPath: state + "/roots", withIntermediateDirectories: true)
    try old.rootPEM.write(toFile: state + "/roots/old.pem", atomically: true, encoding: .utf8)
    try authority.reloadRoots()
    #expect(authority.trustBundle.pem == authority.rootPEM + old.rootPEM)
    try "garbage".write(toFile: state + "/roots/broken.pem", atomically: true, encoding: .utf8)
    #expect(sentence { () throws(IdentityError) in try authority.reloadRoots() }?.contains("broken.pem") == true)
    #expect(authority.trustBundle.roots.count == 2)
  }

  @Test func neverOverwrites() throws {
    try SecureFile.write([[1, 2], [3]], to: directory.path + "/file", replacing: false)
    let error = sentence { () throws(IdentityError) in
      try SecureFile.write([[9]], to: directory.path + "/file", replacing: false)
    }
    #expect(error?.contains("File exists") == true)
    #expect(try SecureFile.read(directory.path + "/file", maximumBytes: 10, isPrivate: true) == [1, 2, 3])
    #expect(try SecureFile.list(directory.path) == ["file"])
  }

  private func open(domain: TrustDomain = .clusterLocal, now: Date = Date()) -> String? {
    sentence { () throws(IdentityError) in
      _ = try CertificateAuthority(stateDirectory: state, trustDomain: domain, now: now)
    }
  }

  private func request(names: [GeneralName], p384: Bool) throws -> [UInt8] {
    let key = p384 ? Certificate.PrivateKey(P384.Signing.PrivateKey()) : Certificate.PrivateKey(WorkloadKey().key)
    let extensions = try Certificate.Extensions { if !names.isEmpty { SubjectAlternativeNames(names) } }
    return try CertificateSigningRequest(
      version: .v1, subject: DistinguishedName(), privateKey: key,
      attributes: .init([.init(ExtensionRequest(extensions: extensions))]),
      signatureAlgorithm: p384 ? .ecdsaWithSHA384 : .ecdsaWithSHA256
    ).derBytes()
  }
}
