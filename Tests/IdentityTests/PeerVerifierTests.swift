import Foundation
import MeshModel
import Testing
import X509

@testable import Identity

@Suite struct PeerVerifierTests {
  let directory = try! TemporaryDirectory()  // A test without a directory can't go on.

  private func authority(_ name: String = "a") throws -> CertificateAuthority {
    try CertificateAuthority(stateDirectory: "\(directory.path)/\(name)", trustDomain: domain)
  }

  private func refusal(
    _ chain: [[UInt8]], _ bundle: TrustBundle, role: PeerVerifier.Role = .client, now: Date = Date()
  ) async -> IdentityError? {
    do throws(IdentityError) {
      _ = try await PeerVerifier.verify(chain: chain, bundle: bundle, role: role, now: now)
      return nil
    } catch {
      return error
    }
  }

  @Test func acceptsWhatTheCASigned() async throws {
    let authority = try authority()
    let held = try authority.issue(for: reviews)
    for role in [PeerVerifier.Role.client, .server] {
      let peer = try await PeerVerifier.verify(
        chain: held.certificate.chain, bundle: authority.trustBundle, role: role)
      #expect(peer.subject == reviews)
      #expect(peer.notAfter == held.certificate.notAfter)
      #expect(peer.chain == held.certificate.chain + authority.trustBundle.roots)
    }
    let server = try authority.issueServerCertificate(names: ["Control.weft", "10.0.0.1"])
    let peer = try await PeerVerifier.verify(
      chain: server.certificate.chain, bundle: authority.trustBundle, role: .server)
    #expect(peer.subject == .control(domain))
    #expect(peer.isNamed("control.weft") && peer.isNamed("10.0.0.1") && !peer.isNamed("10.0.0.2"))
  }

  @Test func refusesExpiredForeignAndBroken() async throws {
    let authority = try authority()
    let other = try self.authority("b")
    let bundle = authority.trustBundle
    let held = try authority.issue(for: reviews, lifetime: 60)
    let chain = held.certificate.chain
    let expired = await refusal(chain, bundle, now: held.certificate.notAfter)
    #expect(expired?.kind == .expired && expired?.description.contains("expired at") == true)
    let early = await refusal(chain, bundle, now: held.certificate.notBefore.addingTimeInterval(-1))
    #expect(early?.kind == .expired)
    let foreign = await refusal(chain, other.trustBundle)
    #expect(foreign?.kind == .denied && foreign?.description.contains("not issued by this mesh's CA") == true)
    #expect(await refusal([], bundle) != nil)
    #expect(await refusal([[1, 2, 3]], bundle) != nil)
    #expect(await refusal(Array(repeating: chain[0], count: 9), bundle) != nil)
    // The root itself proves nothing about a peer.
    #expect(await refusal(bundle.roots, bundle) != nil)
    // A leaf can't issue.
    let below = try CertificateTemplate.leaf(
      names: [.uniformResourceIdentifier(reviews.uri)], publicKey: .init(WorkloadKey().key.publicKey),
      validity: (Date().addingTimeInterval(-10), Date().addingTimeInterval(50)),
      issuer: Certificate(derEncoded: chain[0]), issuerKey: .init(held.key.key))
    #expect(await refusal([try below.derBytes(), chain[0]], bundle) != nil)
  }

  @Test func acceptsEveryRootOfTheBundle() async throws {
    let first = try authority()
    let second = try authority("b")
    let both = try TrustBundle(der: first.trustBundle.roots + second.trustBundle.roots)
    #expect(await refusal(try first.issue(for: reviews).certificate.chain, both) == nil)
    #expect(await refusal(try second.issue(for: reviews).certificate.chain, both) == nil)
    #expect(both.descriptions.count == 2)
    #expect(try TrustBundle(pem: both.pem) == both)
  }

  @Test func bundleRefusesWhatIsNoRoot() throws {
    let authority = try authority()
    let leaf = try authority.issue(for: reviews).certificate.chain
    #expect(sentence { () throws(IdentityError) in _ = try TrustBundle(der: leaf) }?.contains("not a CA") == true)
    #expect(sentence { () throws(IdentityError) in _ = try TrustBundle(der: []) } != nil)
    #expect(sentence { () throws(IdentityError) in _ = try TrustBundle(pem: "nothing") } != nil)
    #expect(
      sentence { () throws(IdentityError) in _ = try TrustBundle(file: "/nowhere/ca.pem") }?
        .contains("/nowhere/ca.pem") == true)
    let elsewhere = try CertificateAuthority(
      stateDirectory: directory.path + "/c", trustDomain: TrustDomain("elsewhere")!)
    #expect(
      sentence { () throws(IdentityError) in
        _ = try TrustBundle(der: authority.trustBundle.roots + elsewhere.trustBundle.roots)
      } != nil)
  }
}
