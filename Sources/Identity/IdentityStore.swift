import Crypto
import Foundation
import SwiftASN1

/// An agent's keys and certificates on disk, so that one restarted while the control plane is away still has them.
///
/// One file an identity, key and chain together, so that they can't disagree; 0600 in a directory of 0700.
public struct IdentityStore: Sendable {
  public let directory: String

  public struct Loaded: Sendable {
    /// What is valid still.
    public var identities: [HeldIdentity] = []
    /// As last saved; nil where none was.
    public var trustBundle: TrustBundle?
    /// Files that were ignored, each with why. Expired ones are removed and not listed.
    public var problems: [IdentityError] = []
  }

  /// Makes the directory, and removes what an interrupted write left.
  public init(directory: String) throws(IdentityError) {
    self.directory = directory
    try SecureFile.makeDirectory(directory)
    try SecureFile.removeLeftovers(in: directory)
  }

  /// Replaces what was kept for the same subject, atomically.
  public func save(_ identity: HeldIdentity) throws(IdentityError) {
    let text = identity.key.pkcs8PEM + identity.certificate.pem
    try SecureFile.write([Array(text.utf8)], to: path(identity.subject), replacing: true)
  }

  public func save(_ bundle: TrustBundle) throws(IdentityError) {
    try SecureFile.write([Array(bundle.pem.utf8)], to: bundlePath, replacing: true)
  }

  public func remove(_ subject: CertificateSubject) throws(IdentityError) {
    try SecureFile.remove(path(subject))
  }

  /// Everything valid at `now`.
  public func load(now: Date = Date()) -> Loaded {
    var loaded = Loaded()
    do {
      for name in try SecureFile.list(directory) where name.hasSuffix(suffix) {
        do {
          let identity = try read("\(directory)/\(name)")
          if now < identity.certificate.notAfter {
            loaded.identities.append(identity)
          } else {
            try SecureFile.remove("\(directory)/\(name)")
          }
        } catch {
          loaded.problems.append(error)
        }
      }
      if let bytes = try SecureFile.read(bundlePath, maximumBytes: TrustBundle.maximumBytes, isPrivate: true) {
        loaded.trustBundle = try TrustBundle(pem: String(decoding: bytes, as: UTF8.self))
      }
    } catch {
      loaded.problems.append(error)
    }
    return loaded
  }

  private let suffix = ".identity.pem"
  private var bundlePath: String { "\(directory)/trust-bundle.pem" }

  private func path(_ subject: CertificateSubject) -> String {
    // A digest, since a URI can be longer than a file name.
    let digest = SHA256.hash(data: Array(subject.uri.utf8)).prefix(16)
    return "\(directory)/" + digest.map { String(UInt16($0) | 0x100, radix: 16).dropFirst() }.joined() + suffix
  }

  private func read(_ path: String) throws(IdentityError) -> HeldIdentity {
    let bytes = try SecureFile.read(path, maximumBytes: 256 * 1024, isPrivate: true) ?? []
    guard let documents = try? PEMDocument.parseMultiple(pemString: String(decoding: bytes, as: UTF8.self)),
      documents.first?.discriminator == "PRIVATE KEY",
      documents.dropFirst().allSatisfy({ $0.discriminator == "CERTIFICATE" })
    else { throw IdentityError(.invalid, "\(path) is damaged: it is not a key followed by its certificates") }
    do {
      return try HeldIdentity(
        key: WorkloadKey(pkcs8DER: documents[0].derBytes),
        certificate: IssuedIdentity(chain: documents.dropFirst().map(\.derBytes)))
    } catch {
      throw IdentityError(error.kind, "\(path): \(error)")
    }
  }
}
