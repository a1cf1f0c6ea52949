/// A configuration folder as objects: looks at it when asked, reads what changed, and keeps the last good state of
/// what can't be read or is refused.
struct ConfigFolder: Sendable {
  /// What one look at the folder found.
  struct Look: Sendable {
    var changes: [ObjectChange] = []
    /// Files and folders that fare otherwise than before, sorted.
    var changedFiles: [String] = []
    /// Files that were read.
    var filesRead = 0
    /// Folders to watch.
    var folders: [String] = []
  }

  let path: String
  private let limits: FolderScanner.Limits
  private(set) var registry = ObjectRegistry()
  private var identities: [String: FileIdentity] = [:]
  private var refusals: [String: String] = [:]

  init(path: String, limits: FolderScanner.Limits = FolderScanner.Limits()) {
    self.path = path
    self.limits = limits
  }

  /// Why the folder can't be read at all; nil if it can.
  var failure: String? { refusals[""] }

  mutating func look() -> Look {
    let listing = FolderScanner.list(path, limits: limits)
    var look = Look(folders: listing.folders)
    var versions: [String: DecodedFile?] = [:]
    for (name, file) in listing.files where identities[name] != file.identity {
      switch ConfigFile.read(file.path) {
      case .bytes(let bytes, let identity):
        versions[name] = FileDecoder.decode(bytes, file: name)
        identities[name] = identity
        refusals[name] = nil
        look.filesRead += 1
      case .unsettled: identities[name] = nil
      case .refused(let reason):
        // Looked at again only once it changes.
        identities[name] = file.identity
        refuse(name, reason, &versions)
      }
    }
    for (name, reason) in listing.refused.merging(listing.unreadable, uniquingKeysWith: { first, _ in first }) {
      identities[name] = nil
      refuse(name, reason, &versions)
    }
    for name in gone(listing) {
      versions[name] = .some(nil)
      identities[name] = nil
      refusals[name] = nil
    }
    look.changes = registry.update(versions)
    look.changedFiles = versions.keys.sorted()
    return look
  }

  private mutating func refuse(_ name: String, _ reason: String, _ versions: inout [String: DecodedFile?]) {
    guard refusals.updateValue(reason, forKey: name) != reason else { return }
    let label = name.isEmpty ? path : name
    versions[name] = .refused(ConfigProblem(file: label, reason: reason))
  }

  /// Files that are no longer there, as far as the folder could be looked at.
  private func gone(_ listing: FolderScanner.Listing) -> [String] {
    guard !listing.isIncomplete else { return [] }
    let present = Set(listing.files.keys).union(listing.refused.keys).union(listing.unreadable.keys)
    return registry.missing(from: present).filter { name in
      !listing.unreadable.keys.contains { $0.isEmpty ? !name.isEmpty : name.hasPrefix($0 + "/") }
    }
  }
}
