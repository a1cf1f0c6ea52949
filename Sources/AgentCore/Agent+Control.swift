import Discovery
import DiscoveryAPI
import Foundation
import Identity
import Logging
import MeshModel

/// The control plane: joining it, following it, and the certificates that it signs.
extension Agent {
  func followControl() async {
    var backoff = Duration.milliseconds(200)
    while !Task.isCancelled, nodeIdentity == nil {
      do {
        try await join()
      } catch {
        joinFailed("can't join the mesh", error)
        try? await Task.sleep(for: backoff * Double.random(in: 0.5...1))
        backoff = min(backoff * 2, .seconds(10))
      }
    }
    guard let nodeIdentity, !Task.isCancelled else { return }
    let client = DiscoveryClient(
      configuration: .init(node: configuration.node, control: configuration.control), credentials: nodeIdentity,
      trustBundle: trustBundle, resuming: restoredState, logger: logger,
      onStatus: { [weak self] status in
        if status.connected { Task { [weak self] in await self?.controlIsBack() } }
      })
    self.client = client
    restoredState = DiscoveryState()
    updateNeeds()
    evaluateAll()
    await client.run { [weak self] in await self?.received($0) ?? [] }
  }

  private func controlIsBack() {
    identities.retry(now: Date())
    renew()
  }

  func use(node identity: HeldIdentity, trustBundle: TrustBundle? = nil) {
    nodeIdentity = identity
    var random = SystemRandomNumberGenerator()
    nodeSchedule.succeeded(identity.certificate, now: Date(), using: &random)
    client?.use(identity, trustBundle: trustBundle)
  }

  /// Exchanges the join token for the node's certificate: with a control plane that the roots verify which are held, or those
  /// that the file has come to have.
  private func join() async throws {
    do {
      try await join(by: trustBundle)
    } catch {
      guard let roots = changedRoots() else { throw error }
      try await join(by: roots)
    }
  }

  private func join(by roots: TrustBundle) async throws {
    let modified = Self.modified(configuration.trustFile)
    let token = try JoinToken.read(configuration.joinTokenFile)
    let (credentials, bundle) = try await DiscoveryClient.join(
      node: configuration.node, at: configuration.join, token: token, trustBundle: roots)
    attempt("saved identities") { try identityStore.save(credentials) }
    if !Set(trustBundle.roots).isSubset(of: bundle.roots) {
      logger.warning("the mesh was cut over to another CA: every certificate is asked for anew")
      // An agent after this one mustn't take them for good.
      for id in identities.entries.keys { attempt("saved identities") { try identityStore.remove(.workload(id)) } }
      identities.renewAll(now: Date())
    }
    if roots != trustBundle { trustFileModified = modified }
    take(bundle)
    use(node: credentials, trustBundle: bundle)
    problems["join"] = nil
  }

  /// While the control plane is away: it may have gone over to a CA that the file has come to have. Nothing changes unless a
  /// control plane of that CA answers.
  func followCutOver() {
    guard let client, !client.status.connected, !isJoiningAnew, let roots = changedRoots() else { return }
    isJoiningAnew = true
    Task {
      do {
        try await join(by: roots)
      } catch {
        joinFailed("can't join the mesh anew", error)
      }
      isJoiningAnew = false
    }
  }

  /// Logged where it's another failure than the last.
  private func joinFailed(_ what: Logger.Message, _ error: any Error) {
    if problems["join"] != "\(error)" { logger.error(what, metadata: ["error": "\(error)"]) }
    problems["join"] = "\(error)"
  }

  /// The file's roots, where it was written since they were looked at and has others of the same trust domain. One that
  /// stays as it was says nothing: the mesh's roots may have been rotated without it. nil: nothing of the kind.
  private func changedRoots() -> TrustBundle? {
    guard Self.modified(configuration.trustFile) != trustFileModified,
      let file = try? TrustBundle(file: configuration.trustFile), file.trustDomain == trustBundle.trustDomain,
      Set(file.roots) != Set(trustBundle.roots)
    else { return nil }
    return file
  }

  /// nil: there is no such file.
  static func modified(_ path: String) -> Date? {
    (try? FileManager.default.attributesOfItem(atPath: (path as NSString).resolvingSymlinksInPath))?[.modificationDate]
      as? Date
  }

  /// Takes an update; what this agent or its proxy can't use is refused, and the last good version stays.
  func received(_ update: DiscoveryUpdate) async -> [RejectedResource] {
    var undo: MeshUndo? = MeshUndo()
    meshChangedAt = DispatchTime.now().uptimeNanoseconds
    var (change, refused) = mesh.apply(update, noting: &undo)
    if let error = await pushAndWait(change), !error.isEmpty {
      // The proxy has changed nothing. What is gone is gone in any case.
      if let undo { mesh.revert(undo) }
      let names = Set(refused.map(\.name))
      refused += update.resources.filter { !names.contains($0.name) }
        .map { RejectedResource(typeURL: update.typeURL, name: $0.name, reason: "the proxy can't use it: \(error)") }
      push(mesh.apply(DiscoveryUpdate(typeURL: update.typeURL, resources: [], removed: update.removed)).0)
    }
    let named = Set(update.resources.map(\.name) + update.removed)
    rejected.removeAll { $0.typeURL == update.typeURL && named.contains($0.name) }
    rejected = Array((rejected + refused).suffix(1000))
    heardTypes.insert(update.typeURL)
    if !snapshot.isDirty { snapshotStore.markStale() }
    snapshot.changed(now: DispatchTime.now().uptimeNanoseconds)
    guard !isEnding else { return refused }
    updateNeeds()
    evaluateAll()
    removeLeftovers()
    return refused
  }

  /// Whether the pod's identity is among those that are held or asked for.
  func isNeedKnown(of uid: String) -> Bool {
    guard let workload = mesh.workloads[uid], let id = mesh.identity(of: workload) else { return false }
    return identities.entries[id] != nil
  }

  /// Which identities this node's workloads need now.
  func updateNeeds() {
    var needed: Set<SPIFFEID> = []
    func need(_ workload: Workload?) {
      if let workload, workload.isCarried(on: configuration.node), let id = mesh.identity(of: workload) {
        needed.insert(id)
      }
    }
    for uid in pods.keys { need(mesh.workloads[uid]) }
    // Before they are there: a certificate takes longer than all the rest of an enrolment.
    for workload in mesh.localPods { need(workload) }
    let (restored, dropped) = identities.need(needed, now: Date())
    for identity in restored { push(identity) }
    for id in dropped { attempt("saved identities") { try identityStore.remove(.workload(id)) } }
    renew()
  }

  /// Asks for every certificate that is due.
  func renew() {
    guard let client else { return }
    let now = Date()
    for id in identities.due(now: now) {
      Task {
        do {
          certified(try await client.sign(.workload(id)), id)
          take(client.trustBundle)
        } catch {
          identities.failed("\(error)", for: id, now: Date())
          logger.warning("no certificate", metadata: ["identity": "\(id)", "error": "\(error)"])
        }
      }
    }
    guard nodeSchedule.isDue(now: now) else { return }
    nodeSchedule.began()
    Task {
      do {
        // With an expired certificate nothing but the token is believed.
        guard nodeSchedule.state(now: now) != .expired else { return try await join() }
        let identity: HeldIdentity
        do {
          identity = try await client.sign(.node(nodeID))
        } catch let error as DiscoveryError where error.kind == .refused {
          return try await join()
        }
        attempt("saved identities") { try identityStore.save(identity) }
        use(node: identity)
        take(client.trustBundle)
      } catch {
        var random = SystemRandomNumberGenerator()
        nodeSchedule.failed("\(error)", now: Date(), using: &random)
        logger.warning("the node's certificate is not renewed", metadata: ["error": "\(error)"])
      }
    }
  }

  private func certified(_ identity: HeldIdentity, _ id: SPIFFEID) {
    identities.succeeded(identity, for: id)
    attempt("saved identities") { try identityStore.save(identity) }
    push(identity)
    logger.info(
      "certificate", metadata: ["identity": "\(id)", "serial": "\(identity.certificate.serial)"])
    evaluateAll()
  }

  private func take(_ bundle: TrustBundle) {
    guard bundle != trustBundle else { return }
    trustBundle = bundle
    attempt("saved identities") { try identityStore.save(bundle) }
    link?.send(.with { $0.trustBundle.roots = bundle.roots.map { Data($0) } })
  }
}

/// The join token's file, read anew for each join: the kubelet replaces a projected token before it expires.
enum JoinToken {
  /// Bytes: Kubernetes' tokens are JWTs of some 1 to 2 KiB.
  static let bound = 16 << 10

  static func read(_ path: String) throws -> String {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw AgentError("the join token file \(path) can't be read: write the node's token there")
    }
    let token = String(decoding: data.prefix(bound), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    guard !token.isEmpty, data.count <= bound else {
      throw AgentError("the join token file \(path) is empty or longer than \(bound) bytes")
    }
    return token
  }
}
