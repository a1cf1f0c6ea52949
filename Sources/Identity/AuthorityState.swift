import Crypto
import Foundation
import MeshModel
import SwiftASN1
import X509

/// A CA's files: `ca.key` (0600, PKCS #8 PEM), `ca.pem` and `roots/*.pem`.
enum AuthorityState {
  static func open(
    directory: String, trustDomain: TrustDomain, now: Date
  ) throws(IdentityError) -> AuthorityMaterial {
    try SecureFile.makeDirectory(directory)
    let key: P256.Signing.PrivateKey
    if let existing = try loadKey(directory) { key = existing } else { key = try createKey(directory) }
    let issuerKey = Certificate.PrivateKey(key)
    let path = "\(directory)/ca.pem"
    let der: [UInt8]
    if let bytes = try SecureFile.read(path, maximumBytes: TrustBundle.maximumBytes, isPrivate: false) {
      der = try loadRoot(bytes, path: path)
    } else {
      der = try createRoot(path: path, trustDomain: trustDomain, key: issuerKey, now: now)
    }
    guard let root = try? Certificate(derEncoded: der) else {
      throw IdentityError(.invalid, "\(path) does not hold an X.509 certificate")
    }
    guard root.publicKey == issuerKey.publicKey else {
      throw IdentityError(.invalid, "\(directory)/ca.key is not the key of \(path); restore the pair from one backup")
    }
    guard root.publicKey.isValidSignature(root.signature, for: root) else {
      throw IdentityError(.invalid, "\(path) is not self-signed by its key")
    }
    guard TrustBundle.trustDomain(of: root) == trustDomain else {
      throw IdentityError(
        .invalid, "\(path) is the root of another trust domain than \(trustDomain); use another --state-dir")
    }
    guard now < root.notValidAfter else {
      throw IdentityError(
        .expired, "the root \(path) expired at \(root.notValidAfter); move it and ca.key away to make a new one")
    }
    return try AuthorityMaterial(
      key: key, chain: [der], furtherRoots: furtherRoots(directory), trustDomain: trustDomain, what: directory,
      now: now)
  }

  /// DER of what `roots/*.pem` hold.
  static func furtherRoots(_ directory: String) throws(IdentityError) -> [[UInt8]] {
    var roots: [[UInt8]] = []
    let folder = "\(directory)/roots"
    for name in try SecureFile.list(folder) where name.hasSuffix(".pem") {
      let path = "\(folder)/\(name)"
      let bytes = try SecureFile.read(path, maximumBytes: TrustBundle.maximumBytes, isPrivate: false) ?? []
      roots += try TrustBundle.certificates(pem: String(decoding: bytes, as: UTF8.self), what: path)
    }
    return roots
  }

  private static func loadKey(_ directory: String) throws(IdentityError) -> P256.Signing.PrivateKey? {
    let path = "\(directory)/ca.key"
    guard let bytes = try SecureFile.read(path, maximumBytes: 64 * 1024, isPrivate: true) else { return nil }
    guard let key = try? P256.Signing.PrivateKey(pemRepresentation: String(decoding: bytes, as: UTF8.self)) else {
      throw IdentityError(.invalid, "\(path) is not a P-256 private key in PEM")
    }
    return key
  }

  private static func createKey(_ directory: String) throws(IdentityError) -> P256.Signing.PrivateKey {
    let root = try SecureFile.read("\(directory)/ca.pem", maximumBytes: TrustBundle.maximumBytes, isPrivate: false)
    guard root == nil else {
      throw IdentityError(.invalid, "\(directory) has ca.pem but no ca.key; restore the key or move ca.pem away")
    }
    let key = P256.Signing.PrivateKey()
    try SecureFile.write(
      [Array((key.pemRepresentation + "\n").utf8)], to: "\(directory)/ca.key", replacing: false)
    return key
  }

  private static func loadRoot(_ bytes: [UInt8], path: String) throws(IdentityError) -> [UInt8] {
    let certificates = try TrustBundle.certificates(pem: String(decoding: bytes, as: UTF8.self), what: path)
    guard certificates.count == 1 else {
      throw IdentityError(.invalid, "\(path) holds \(certificates.count) certificates; put further roots into roots/")
    }
    return certificates[0]
  }

  private static func createRoot(
    path: String, trustDomain: TrustDomain, key: Certificate.PrivateKey, now: Date
  ) throws(IdentityError) -> [UInt8] {
    let der: [UInt8]
    do {
      let root = try CertificateTemplate.root(trustDomain: trustDomain, key: key, now: now)
      der = try root.derBytes()
    } catch {
      throw IdentityError(.invalid, "can't make the root certificate: \(error)")
    }
    let pem = PEMDocument(type: "CERTIFICATE", derBytes: der).pemString + "\n"
    // Public: agents and people read it.
    try SecureFile.write([Array(pem.utf8)], to: path, replacing: false, mode: 0o644)
    return der
  }
}
