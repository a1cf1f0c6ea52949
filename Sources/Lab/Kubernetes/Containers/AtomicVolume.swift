import Foundation

/// A folder whose files change all at once, as kubelet's AtomicWriter makes it: they lie in a folder with a time in its
/// name, `..data` links there, and each name links through `..data`.
enum AtomicVolume {
  struct File: Equatable, Sendable {
    var bytes: [UInt8]
    var mode: mode_t
  }

  struct Owner: Equatable, Sendable {
    /// nil leaves root.
    var user: UInt32?
    var group: UInt32?
  }

  private static let data = "..data"

  /// Makes `folder` show exactly `files`; nothing is touched where it does so already.
  /// - Parameter files: by relative path, without `..`.
  /// - Throws: `LabError` for a path that leads out of the folder, or where writing fails.
  static func write(_ files: [String: File], to folder: String, owner: Owner = Owner()) throws {
    for path in files.keys {
      let parts = path.split(separator: "/", omittingEmptySubsequences: false)
      guard !parts.isEmpty, parts.allSatisfy({ !$0.isEmpty && !$0.hasPrefix("..") }) else {
        throw LabError("\(path.debugDescription): is no path of a volume's file")
      }
    }
    try Files.makeFolder(folder)
    let old = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\(data)")
    if let old, isSame(files, in: "\(folder)/\(old)") { return }
    let name = "..\(stamp())"
    let target = "\(folder)/\(name)"
    try Files.makeFolder(target)
    chmod(target, 0o755)
    for (path, file) in files {
      let full = "\(target)/\(path)"
      if let slash = path.lastIndex(of: "/") { try Files.makeFolder("\(target)/\(path[..<slash])") }
      let descriptor = open(full, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
      guard descriptor >= 0 else { throw LabError("\(full): can't be written: \(Errno.text(errno))") }
      defer { close(descriptor) }
      try Files.write(file.bytes, to: descriptor, name: full)
      // The owner before the mode: of a file that changes hands set-id bits are lost.
      if owner.user != nil || owner.group != nil { fchown(descriptor, owner.user ?? 0, owner.group ?? 0) }
      fchmod(descriptor, file.mode)
    }
    let temporary = "\(folder)/..data_tmp"
    unlink(temporary)
    guard symlink(name, temporary) == 0, rename(temporary, "\(folder)/\(data)") == 0 else {
      throw LabError("\(folder)/\(data): can't be replaced: \(Errno.text(errno))")
    }
    try link(Set(files.keys.map { String($0.split(separator: "/")[0]) }), in: folder)
    if let old { try Files.removeTree("\(folder)/\(old)") }
  }

  /// A link for each name, and none for those that are gone.
  private static func link(_ names: Set<String>, in folder: String) throws {
    for name in Files.names(in: folder) where !name.hasPrefix("..") && !names.contains(name) {
      try Files.removeTree("\(folder)/\(name)")
    }
    for name in names where !Files.exists("\(folder)/\(name)") {
      guard symlink("\(data)/\(name)", "\(folder)/\(name)") == 0 else {
        throw LabError("\(folder)/\(name): can't be linked: \(Errno.text(errno))")
      }
    }
  }

  private static func isSame(_ files: [String: File], in folder: String) -> Bool {
    var count = 0
    guard let paths = FileManager.default.enumerator(atPath: folder) else { return false }
    for case let path as String in paths {
      var info = stat()
      guard stat("\(folder)/\(path)", &info) == 0 else { return false }
      if info.st_mode & S_IFMT == S_IFDIR { continue }
      count += 1
      guard let file = files[path], info.st_mode & 0o7777 == file.mode,
        let content = FileManager.default.contents(atPath: "\(folder)/\(path)"), content.elementsEqual(file.bytes)
      else { return false }
    }
    return count == files.count
  }

  private static func stamp() -> String {
    let now = Int64(Date().timeIntervalSince1970 * 1000)
    let time = PodStatus.time(now).filter { $0.isNumber }
    return "\(time).\(UInt32.random(in: 0..<UInt32.max))"
  }
}
