import Identity

/// `weft-control issue`: a certificate made by hand with the CA of a state directory, for tests and for programs
/// that are no workload of the mesh.
public enum IdentityIssue {
  /// Writes `tls.pem` (the chain), `key.pem` (mode 0600) and `ca.pem` into `directory`, which is made if missing.
  ///
  /// - Parameter lifetime: seconds, within `CertificateAuthority.lifetimes`.
  public static func write(
    spiffeID: String, stateDirectory: String, to directory: String,
    lifetime: Double = CertificateAuthority.defaultLifetime
  ) throws {
    guard let subject = CertificateSubject(spiffeID) else {
      throw ControlPlaneError(
        "\(spiffeID) is not an identity of the mesh; a workload's is spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT")
    }
    guard FileIdentity(path: "\(stateDirectory)/ca.key") != nil else {
      throw ControlPlaneError("there is no CA in \(stateDirectory); weft-control makes one when it starts")
    }
    let authority = try CertificateAuthority(stateDirectory: stateDirectory, trustDomain: subject.trustDomain)
    let identity = try authority.issue(for: subject, lifetime: lifetime)
    try SecureFile.makeDirectory(directory)
    try SecureFile.write([Array(identity.key.pkcs8PEM.utf8)], to: "\(directory)/key.pem", replacing: true)
    try SecureFile.write(
      [Array(identity.certificate.pem.utf8)], to: "\(directory)/tls.pem", replacing: true, mode: 0o644)
    try SecureFile.write(
      [Array(authority.trustBundle.pem.utf8)], to: "\(directory)/ca.pem", replacing: true, mode: 0o644)
  }
}
