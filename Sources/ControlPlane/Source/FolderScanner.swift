import Glibc

/// Lists the configuration files of a folder and of those below it.
///
/// Names that begin with a dot are left out: files being written, and where Kubernetes keeps the versions of a
/// mounted ConfigMap (`..data`), whose links are followed. A link may lead anywhere inside the folder, never out of it.
struct FolderScanner {
  struct Limits: Sendable {
    var files = 10_000
    /// Names of all sorts.
    var names = 100_000
    var depth = 32
  }

  struct Listing: Sendable {
    struct File: Sendable {
      /// Where it really is.
      var path: String
      var identity: FileIdentity
    }

    /// By path relative to the folder.
    var files: [String: File] = [:]
    /// Names that look like configuration and can't be read, by relative path.
    var refused: [String: String] = [:]
    /// What is wrong with folders, by relative path; what was below them counts as still there.
    var unreadable: [String: String] = [:]
    /// Folders to watch.
    var folders: [String] = []
    /// Whether a limit left files out: then none counts as gone.
    var isIncomplete = false
  }

  private let root: String
  private let limits: Limits
  private var listing = Listing()
  private var names = 0
  private var visited: [FolderIdentity: String] = [:]

  private struct FolderIdentity: Hashable {
    var device: UInt64
    var inode: UInt64
  }

  static func list(_ folder: String, limits: Limits = Limits()) -> Listing {
    guard let root = resolve(folder) else {
      var listing = Listing()
      listing.unreadable[""] = "can't be opened: \(ConfigFile.describe(errno))"
      return listing
    }
    var scanner = FolderScanner(root: root, limits: limits)
    scanner.scan(folder: root, relative: "", depth: 1)
    return scanner.listing
  }

  private init(root: String, limits: Limits) {
    self.root = root
    self.limits = limits
  }

  private mutating func scan(folder: String, relative: String, depth: Int) {
    var status = stat()
    guard stat(folder, &status) == 0 else { return vanishedOrUnreadable(relative) }
    let identity = FolderIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    if let first = visited.updateValue(relative, forKey: identity) {
      visited[identity] = first
      let other = first.isEmpty ? "the configuration folder itself" : first
      listing.refused[relative] = "leads to \(other), which is read already (a loop of links?)"
      return
    }
    guard depth <= limits.depth else {
      listing.refused[relative] = "is more than \(limits.depth) folders deep"
      return
    }
    guard let found = entries(folder, relative) else { return }
    listing.folders.append(folder)
    // Real folders before links, so that a file has its own path where a link leads to it too.
    var links: [(name: String, status: stat)] = []
    for name in found {
      var status = stat()
      guard lstat("\(folder)/\(name)", &status) == 0 else { continue }
      if status.st_mode & S_IFMT == S_IFLNK {
        links.append((name, status))
      } else {
        visit("\(folder)/\(name)", join(relative, name), status, depth)
      }
    }
    for link in links { follow("\(folder)/\(link.name)", join(relative, link.name), depth) }
  }

  private mutating func entries(_ folder: String, _ relative: String) -> [String]? {
    guard let directory = opendir(folder) else {
      vanishedOrUnreadable(relative)
      return nil
    }
    defer { closedir(directory) }
    var found: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
      }
      guard let name else {
        listing.refused[join(relative, "(unreadable name)")] = "is a file whose name is not UTF-8 text: rename it"
        continue
      }
      guard !name.hasPrefix(".") else { continue }
      names += 1
      guard names <= limits.names else {
        listing.unreadable[relative] = "more than \(limits.names) names in the configuration folder"
        listing.isIncomplete = true
        break
      }
      found.append(name)
    }
    return found.sorted()
  }

  private mutating func visit(_ path: String, _ relative: String, _ status: stat, _ depth: Int) {
    switch status.st_mode & S_IFMT {
    case S_IFDIR: scan(folder: path, relative: relative, depth: depth + 1)
    case S_IFREG where Self.isConfiguration(relative):
      guard listing.files.count < limits.files else {
        listing.isIncomplete = true
        listing.refused[relative] = "is left out: the folder holds more than \(limits.files) files"
        return
      }
      listing.files[relative] = Listing.File(path: path, identity: FileIdentity(status))
    default:
      guard Self.isConfiguration(relative), status.st_mode & S_IFMT != S_IFREG else { return }
      listing.refused[relative] = "is \(ConfigFile.describe(mode: status.st_mode)), not a file"
    }
  }

  private mutating func follow(_ path: String, _ relative: String, _ depth: Int) {
    guard let target = Self.resolve(path) else {
      let code = errno
      if code == ELOOP {
        listing.refused[relative] = "is a loop of links"
      } else if Self.isConfiguration(relative) {
        listing.refused[relative] =
          code == ENOENT ? "links to nothing" : "can't be followed: \(ConfigFile.describe(code))"
      }
      return
    }
    guard target == root || target.hasPrefix(root == "/" ? "/" : root + "/") else {
      listing.refused[relative] = "links to \(target), which is outside the configuration folder"
      return
    }
    var status = stat()
    guard stat(target, &status) == 0 else { return }
    visit(target, relative, status, depth)
  }

  /// A folder that is gone took its files along; one that can't be read did not.
  private mutating func vanishedOrUnreadable(_ relative: String) {
    let code = errno
    if code == ENOENT, !relative.isEmpty { return }
    listing.unreadable[relative] = "can't be opened: \(ConfigFile.describe(code))"
  }

  private static func isConfiguration(_ name: String) -> Bool {
    name.hasSuffix(".yaml") || name.hasSuffix(".yml") || name.hasSuffix(".json")
  }

  private static func resolve(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  private func join(_ relative: String, _ name: String) -> String {
    relative.isEmpty ? name : "\(relative)/\(name)"
  }
}
