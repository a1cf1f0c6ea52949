import Foundation
import MeshModel
import Testing
import X509

@testable import Identity

/// A directory that goes with its owner.
final class TemporaryDirectory {
  let path = "/tmp/weft-identity-tests-\(getpid())-\(UInt32.random(in: 0 ... .max))"

  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}

let domain = TrustDomain.clusterLocal
let reviews = CertificateSubject.workload(SPIFFEID("spiffe://cluster.local/ns/shop/sa/reviews")!)

/// An error's sentence, or nil where nothing was thrown.
func sentence(_ body: () throws(IdentityError) -> Void) -> String? {
  do {
    try body()
    return nil
  } catch {
    return error.description
  }
}

func permissions(_ path: String) throws -> Int {
  try #require(FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
}

/// The same numbers each run.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64 = 42

  mutating func next() -> UInt64 {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return state
  }
}
