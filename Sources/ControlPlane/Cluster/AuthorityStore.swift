import Foundation
import Identity
import KubernetesAPI
import Logging
import MeshModel

/// Keeps the CA in a Secret: opens it or makes it once, however many start together, follows its changes, puts it back
/// where it is lost, and publishes the roots. The key is never written anywhere else.
struct AuthorityStore: Sendable {
  /// Between two looks at the Secret.
  static let interval = Duration.seconds(10)

  let client: KubernetesClient
  let namespace: String
  let trustDomain: TrustDomain
  let logger: Logger

  /// Waits for an API server that is away, and for a Secret that can't be used to be repaired.
  /// - Returns: nil: the task was cancelled.
  func open() async -> CertificateAuthority? {
    var backoff = Backoff(minimum: 0.2, maximum: 10)
    var random = SystemRandomNumberGenerator()
    while !Task.isCancelled {
      do {
        return CertificateAuthority(try await openOnce())
      } catch {
        logger.error("the CA can't be opened: \(error)")
        try? await Task.sleep(for: .seconds(backoff.next(using: &random)))
      }
    }
    return nil
  }

  private func openOnce() async throws -> AuthorityMaterial {
    if let found = try await read() { return found }
    let made = try AuthorityMaterial(new: trustDomain)
    if try await create(made) {
      logger.notice("made the mesh's CA, and keep it in the Secret \(namespace)/\(AuthoritySecret.name)")
      return made
    }
    // Another replica was first: its CA is the mesh's.
    guard let other = try await read() else {
      throw ControlPlaneError("the Secret \(namespace)/\(AuthoritySecret.name) came and went")
    }
    return other
  }

  private func read() async throws -> AuthorityMaterial? {
    let secret = try await client.object(AuthoritySecret.secrets, namespace: namespace, name: AuthoritySecret.name)
    guard let secret else { return nil }
    do throws(IdentityError) {
      return try AuthoritySecret.material(secret, trustDomain: trustDomain, namespace: namespace, now: Date())
    } catch {
      guard error.kind == .expired else { throw error }
      throw ControlPlaneError(
        "\(error); put another CA there, or have weft-control make one: kubectl -n \(namespace) delete secret "
          + AuthoritySecret.name)
    }
  }

  /// - Returns: false: there is one already.
  private func create(_ material: AuthorityMaterial) async throws(KubernetesError) -> Bool {
    do throws(KubernetesError) {
      try await client.create(
        AuthoritySecret.object(material, namespace: namespace), as: AuthoritySecret.secrets, namespace: namespace)
      return true
    } catch {
      if case .conflict = error { return false }
      throw error
    }
  }

  /// Keeps Secret, CA and ConfigMap together until the task is cancelled.
  /// - Parameters:
  ///   - isLeader: whether this replica writes the ConfigMap.
  ///   - report: is told what a person has to repair: a reason in upper camel case, and a sentence.
  func follow(
    _ authority: CertificateAuthority, isLeader: @Sendable () -> Bool,
    report: @Sendable (_ reason: String, _ message: String) -> Void
  ) async {
    var last = ""
    while !Task.isCancelled {
      var problem = ""
      let leads = isLeader()
      do {
        try await refresh(authority)
        if leads { try await publish(authority.trustBundle) }
      } catch {
        problem = "\(error)"
      }
      if problem != last, !problem.isEmpty { logger.error("the CA stays as it was: \(problem)") }
      if problem != last, !problem.isEmpty, leads { report("AuthorityUnusable", problem) }
      last = problem
      if leads, let warning = AuthorityChange.expiry(authority.material.notAfter, now: Date()) {
        report("AuthorityExpires", warning)
      }
      await pause(while: { isLeader() == leads })
    }
  }

  /// Shorter where this replica comes to lead: then it publishes the roots, which agents wait for.
  private func pause(while isUnchanged: @Sendable () -> Bool) async {
    let end = ContinuousClock.now + Self.interval
    while !Task.isCancelled, ContinuousClock.now < end, isUnchanged() {
      try? await Task.sleep(for: .milliseconds(250))
    }
  }

  private func refresh(_ authority: CertificateAuthority) async throws {
    let held = authority.material
    // Nothing that chains to it is believed any more: there is nothing to cut apart.
    let isOver = held.notAfter <= Date()
    guard let found = try await read() else {
      guard !isOver else {
        let made = try await openOnce()
        try authority.use(made)
        return logger.notice("the CA had expired: took another")
      }
      // Lost with etcd, or deleted: the mesh's certificates chain to the one in memory, so a new one would cut it apart.
      if try await create(held) { logger.warning("the Secret \(AuthoritySecret.name) was gone; put the CA back") }
      return
    }
    guard found != held else { return }
    guard isOver || AuthorityChange.isSafe(from: held.bundle, to: found.bundle) else {
      throw ControlPlaneError(
        "the Secret \(namespace)/\(AuthoritySecret.name) has a CA that peers don't trust yet, without the root in use; "
          + "rotate with both roots in roots.pem, or restart weft-control to cut the mesh over at once")
    }
    try authority.use(found)
    logger.notice("took the changed CA", metadata: ["roots": "\(found.bundle.roots.count)"])
  }

  private func publish(_ bundle: TrustBundle) async throws {
    let published = try await client.object(
      AuthoritySecret.configMaps, namespace: namespace, name: AuthoritySecret.rootsName)
    guard published?["data"]?["ca.pem"]?.text != bundle.pem else { return }
    try await client.apply(
      AuthoritySecret.roots(bundle, namespace: namespace), as: AuthoritySecret.configMaps, namespace: namespace,
      name: AuthoritySecret.rootsName, manager: ClusterNames.manager)
    logger.info("published the roots in the ConfigMap \(AuthoritySecret.rootsName)")
  }
}

/// Which CA may follow another without a moment in which peers don't believe each other.
enum AuthorityChange {
  /// Certificates that are held now go on to be believed: the roots in use stay, or at least the first one, which signs.
  static func isSafe(from held: TrustBundle, to found: TrustBundle) -> Bool {
    found.roots.contains(held.roots[0])
  }

  /// What a person is told within 30 days of the CA's end; nil: nothing yet.
  static func expiry(_ end: Date, now: Date) -> String? {
    guard end.timeIntervalSince(now) < 30 * 86400 else { return nil }
    return "the mesh's CA ends at \(end.formatted(.iso8601)): rotate it before, since no certificate outlives it"
  }
}

/// Names that all parts of an installation share.
enum ClusterNames {
  static let manager = "weft-control"
  static let controller = "weft.dev/mesh"
  static let agentAccount = "weft-agent"
  static let audience = "weft"
}
