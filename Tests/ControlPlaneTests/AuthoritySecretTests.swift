import Foundation
import Identity
import KubernetesAPI
import MeshModel
import Testing

@testable import ControlPlane

@Suite struct AuthoritySecretTests {
  private func read(_ secret: JSONNode) throws(IdentityError) -> AuthorityMaterial {
    try AuthoritySecret.material(secret, trustDomain: .clusterLocal, namespace: "weft-system", now: Date())
  }

  private func refusal(_ data: JSONNode) -> String {
    do throws(IdentityError) {
      _ = try read(["data": data])
      return ""
    } catch {
      return error.description
    }
  }

  @Test func whatIsWrittenIsReadAgain() throws {
    let made = try AuthorityMaterial(new: .clusterLocal)
    let object = AuthoritySecret.object(made, namespace: "weft-system")
    #expect(object["data"]?["roots.pem"] == nil)
    #expect(try read(object) == made)
    let other = try AuthorityMaterial(new: .clusterLocal)
    let rotating = try AuthorityMaterial(
      keyPEM: made.keyPEM, chainPEM: made.chainPEM, rootsPEM: other.chainPEM, trustDomain: .clusterLocal, what: "x")
    #expect(try read(AuthoritySecret.object(rotating, namespace: "weft-system")) == rotating)
    #expect(AuthoritySecret.roots(rotating.bundle, namespace: "n")["data"]?["ca.pem"]?.text == rotating.bundle.pem)
  }

  @Test func whatCannotBeReadIsNamedWithoutItsContent() {
    #expect(refusal([:]).contains("the Secret weft-system/weft-ca has no ca.key or no ca.pem"))
    #expect(refusal(["ca.key": "", "ca.pem": "eA=="]).contains("has no ca.key"))
    #expect(refusal(["ca.key": "c2VjcmV0IQ==", "ca.pem": "%"]).contains("ca.pem is not base64"))
    let told = refusal(["ca.key": "c2VjcmV0IQ==", "ca.pem": "eA=="])
    #expect(told.contains("ca.key is not a P-256 private key") && !told.contains("secret!"))
  }

  @Test func aChangeKeepsTheRootInUse() throws {
    let (first, second) = (try AuthorityMaterial(new: .clusterLocal), try AuthorityMaterial(new: .clusterLocal))
    let both = try TrustBundle(der: second.bundle.roots + first.bundle.roots)
    #expect(AuthorityChange.isSafe(from: first.bundle, to: both))
    #expect(!AuthorityChange.isSafe(from: first.bundle, to: second.bundle))
    #expect(AuthorityChange.isSafe(from: both, to: second.bundle))
  }

  @Test func aPersonIsToldThirtyDaysBeforeTheEnd() {
    let now = Date(timeIntervalSince1970: 1_700_000_000)
    #expect(AuthorityChange.expiry(now + 31 * 86400, now: now) == nil)
    #expect(AuthorityChange.expiry(now + 29 * 86400, now: now)?.contains("2023-12-13T22:13:20Z") == true)
    #expect(AuthorityChange.expiry(now - 1, now: now) != nil)
  }
}
