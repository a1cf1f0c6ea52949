import Foundation
import Identity

/// What comes from files: objects, join tokens and further roots.
extension ControlPlane {
  func follow(_ watcher: FolderWatcher, _ authority: CertificateAuthority) async {
    var watched: Set<String> = []
    // Where the tokens are; should it be unwatchable, they are read again within 30 s.
    let tokens = configuration.joinTokensFile.map { URL(filePath: $0).deletingLastPathComponent().path }
    _ = watcher.watch([tokens, configuration.stateDirectory.map { $0 + "/roots" }].compactMap { $0 })
    look(watcher, &watched)
    reloadTokens()
    for await _ in watcher.changes {
      if Task.isCancelled { return }
      look(watcher, &watched)
      reloadTokens()
      reload(authority)
    }
  }

  /// Looks at the folder; once more where folders were new, for what was written before they were watched.
  private func look(_ watcher: FolderWatcher, _ watched: inout Set<String>) {
    for _ in 0..<2 {
      let outcome = mesh.look()
      report(outcome)
      let failed = watcher.watch(outcome.folders)
      let areKnown = watched.isSuperset(of: outcome.folders)
      watched = Set(outcome.folders)
      if areKnown { return }
      guard failed > 0 else { continue }
      logger.warning(
        "\(failed) folders can't be watched (see fs.inotify.max_user_watches): changes are noticed within 30 s")
    }
  }

  func reloadTokens() {
    guard let file = configuration.joinTokensFile, let tokens else { return }
    let identity = FileIdentity(path: file)
    guard
      tokensIdentity.withLock({ old in
        defer { old = identity }
        return old != identity
      })
    else { return }
    do throws(IdentityError) {
      tokens.use(try JoinTokens(file: file))
      logger.info("read the join tokens again")
    } catch {
      logger.error("the join tokens stay as they were: \(error)")
    }
  }

  /// A root laid beside the mesh's own is trusted by each agent from its next renewal on.
  private func reload(_ authority: CertificateAuthority) {
    let before = authority.trustBundle
    do {
      try authority.reloadRoots()
      guard authority.trustBundle != before else { return }
      logger.info("read the roots again", metadata: ["roots": "\(authority.trustBundle.roots.count)"])
    } catch {
      logger.error("the roots stay as they were: \(error)")
    }
  }
}
