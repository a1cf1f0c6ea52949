import Foundation
import Synchronization

/// The bearer token of each request: a file's is read anew, a plugin's asked for again before it ends.
final class TokenSource: Sendable {
  private struct Known {
    var token = ""
    /// When the plugin's token ends.
    var expires = Int64.max
  }

  /// Seconds before its end that a token isn't used any more.
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
    case .plugin(let plugin): return try ofPlugin(plugin)
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

  private func ofPlugin(_ plugin: ExecPlugin) throws(KubernetesError) -> String {
    let now = Int64(Date().timeIntervalSince1970)
    let last = known.withLock { $0 }
    if !last.token.isEmpty, last.expires - Self.margin > now { return last.token }
    do {
      let outcome = try plugin.run()
      known.withLock { $0 = Known(token: outcome.token, expires: outcome.expires ?? .max) }
      return outcome.token
    } catch {
      throw .refused(401, "\(error)")
    }
  }
}
