import Identity
import Logging

extension IdentityStore.Loaded {
  /// The roots to begin with. What the control plane sent last counts more than the file, since roots are rotated; but
  /// a file of another CA means that the mesh was made anew: then what is on disk is of no use.
  mutating func chooseTrust(file path: String, _ logger: Logger) throws -> TrustBundle {
    let fromFile: TrustBundle
    do {
      fromFile = try TrustBundle(file: path)
    } catch {
      guard let trustBundle else { throw error }
      logger.warning("the roots of the last run are used", metadata: ["error": "\(error)"])
      return trustBundle
    }
    guard let trustBundle else { return fromFile }
    if !Set(trustBundle.roots).isDisjoint(with: fromFile.roots) { return trustBundle }
    logger.warning(
      "the certificates on disk are of another CA than the CA file: they are not used", metadata: ["file": "\(path)"])
    identities = []
    return fromFile
  }
}
