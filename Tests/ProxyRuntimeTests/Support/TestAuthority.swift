import Foundation
import Identity
import MeshModel

@testable import ProxyRuntime

/// A CA that lives as long as the tests, in memory only.
struct TestAuthority: Sendable {
  static let mesh = make()
  static let stranger = make()
  /// Made long ago, so that it could sign certificates that are over.
  static let old = make(now: Date(timeIntervalSinceNow: -10 * 86400))

  let authority: CertificateAuthority

  private static func make(now: Date = Date()) -> Result<TestAuthority, any Error> {
    Result {
      let folder = "/tmp/weft-proxy-tests-\(getpid())-\(UInt32.random(in: 0 ... .max))"
      defer { try? FileManager.default.removeItem(atPath: folder) }
      let authority = try CertificateAuthority(stateDirectory: folder, trustDomain: .clusterLocal, now: now)
      return TestAuthority(authority: authority)
    }
  }

  var roots: [[UInt8]] { authority.trustBundle.roots }

  /// - Parameter age: how long ago the certificate was issued, for an hour.
  func held(_ name: String, age: TimeInterval = 0) throws -> HeldIdentity {
    try authority.issue(for: .workload(.of(name)), lifetime: 3600, now: Date(timeIntervalSinceNow: -age))
  }

  /// - Parameter trusting: whose roots; its own where nil.
  func identity(
    _ name: String, as key: SPIFFEID? = nil, age: TimeInterval = 0, trusting: [[UInt8]]? = nil
  ) throws -> TLSIdentity {
    let held = try held(name, age: age)
    return try TLSIdentity(
      id: key ?? .of(name), chain: held.certificate.chain, key: held.key.pkcs8DER, roots: trusting ?? roots)
  }
}
