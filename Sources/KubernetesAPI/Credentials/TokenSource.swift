import Foundation
import Synchronization

/// What each request is proved by: a file's token is read anew, a plugin's credential asked for again before it ends.
final class TokenSource: Sendable {
  private struct Known {
    var token = ""
    var certificate: ClientCertificate?
    /// When the plugin is asked again.
    var expires = Int64.max
  }

  /// Seconds before its end that a token isn't used any more; of one that lives shorter than twice that, half its life.
  private static let margin: Int64 = 60

  private let credential: APIServer.Credential
  private let known = Mutex(Known())

  init(_ credential: APIServer.Credential) { self.credential = credential }

  /// nil: no token is used. Blocks for a plugin's run.
  func token() throws(KubernetesError) -> String? {
    switch credential {
    case .none, .certificate: return nil
    case .token(let token): return token
    case .tokenFile(let path): return try ofFile(path)
    case .plugin(let plugin):
      let token = try ofPlugin(plugin).token
      return token.isEmpty ? nil : token
    }
  }

  /// nil: none is used. Blocks for a plugin's run.
  func certificate() throws(KubernetesError) -> ClientCertificate? {
    switch credential {
    case .none, .token, .tokenFile: return nil
    case .certificate(let certificate): return certificate
    case .plugin(let plugin): return try ofPlugin(plugin).certificate
    }
  }

  /// The server has refused the last one.
  func forget() { known.withLock { $0 = Known() } }

  /// Read for each request: a file of a projected volume is a link to a link, whose times tell nothing of a change.
  private func ofFile(_ path: String) throws(KubernetesError) -> String {
    do {
      let token = String(decoding: try BoundedFile.read(path), as: UTF8.self)
        .trimmingCharacters(in: .whitespacesAndNewlines)
      known.withLock { $0 = Known(token: token) }
      return token
    } catch {
      // What was read last may still hold.
      let last = known.withLock { $0.token }
      guard last.isEmpty else { return last }
      throw .refused(401, "\(error)")
    }
  }

  private func ofPlugin(_ plugin: ExecPlugin) throws(KubernetesError) -> Known {
    let now = Int64(Date().timeIntervalSince1970)
    let last = known.withLock { $0 }
    if !last.token.isEmpty || last.certificate != nil, last.expires > now { return last }
    do {
      let outcome = try plugin.run()
      var made = Known(token: outcome.token, certificate: outcome.certificate)
      if let end = outcome.expires { made.expires = end - max(1, min(Self.margin, (end - now) / 2)) }
      known.withLock { $0 = made }
      return made
    } catch {
      throw .refused(401, "\(error)")
    }
  }
}
