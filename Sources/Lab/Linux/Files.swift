import Foundation

/// Files and folders, with errors that name them.
enum Files {
  /// Makes a folder and its parents; fine where it exists.
  static func makeFolder(_ path: String, mode: mode_t = 0o755) throws {
    if mkdir(path, mode) == 0 || errno == EEXIST { return }
    guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
      throw LabError("\(path): can't be made: \(Errno.text(errno))")
    }
    try makeFolder(String(path[..<slash]))
    guard mkdir(path, mode) == 0 || errno == EEXIST else {
      throw LabError("\(path): can't be made: \(Errno.text(errno))")
    }
  }

  /// Replaces the file in one step: a reader sees the old or the new content.
  static func writeAtomically(_ bytes: [UInt8], to path: String, mode: mode_t = 0o644) throws {
    let temporary = "\(path).tmp"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode)
    guard descriptor >= 0 else { throw LabError("\(temporary): can't be written: \(Errno.text(errno))") }
    do {
      defer { close(descriptor) }
      try write(bytes, to: descriptor, name: temporary)
    } catch {
      unlink(temporary)
      throw error
    }
    guard rename(temporary, path) == 0 else { throw LabError("\(path): can't be replaced: \(Errno.text(errno))") }
  }

  static func writeAtomically(_ text: String, to path: String, mode: mode_t = 0o644) throws {
    try writeAtomically(Array(text.utf8), to: path, mode: mode)
  }

  static func write(_ bytes: [UInt8], to descriptor: Int32, name: String) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw LabError("\(name): can't be written: \(Errno.text(errno))") }
      rest = rest.dropFirst(count)
    }
  }

  /// Reads to the end, or `limit` bytes.
  static func read(_ descriptor: Int32, limit: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while bytes.count < limit {
      let count = buffer.withUnsafeMutableBytes { Foundation.read(descriptor, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw LabError("a file can't be read: \(Errno.text(errno))") }
      if count == 0 { break }
      bytes += buffer[..<count]
    }
    return bytes
  }

  /// The text of a small file such as those of /proc; nil where it can't be read.
  static func text(_ path: String, limit: Int = 4 << 20) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    return (try? read(descriptor, limit: limit)).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The last lines of a log, for an error message; at most 8 KiB.
  static func tail(_ path: String, lines: Int = 15) -> String {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return "" }
    defer { close(descriptor) }
    let size = lseek(descriptor, 0, SEEK_END)
    lseek(descriptor, max(0, size - 8192), SEEK_SET)
    let text = String(decoding: (try? read(descriptor, limit: 8192)) ?? [], as: UTF8.self)
    return text.split(separator: "\n").suffix(lines).joined(separator: "\n")
  }

  static func exists(_ path: String) -> Bool {
    var info = stat()
    return lstat(path, &info) == 0
  }

  /// Names in a folder; empty where there is none.
  static func names(in folder: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
  }

  static func isFolder(_ path: String) -> Bool {
    var info = stat()
    return lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
  }

  /// Removes a folder and what is in it, following no link.
  static func removeTree(_ path: String) throws {
    if isFolder(path) {
      for name in names(in: path) { try removeTree("\(path)/\(name)") }
      guard rmdir(path) == 0 || errno == ENOENT else {
        throw LabError("\(path): can't be removed: \(Errno.text(errno))")
      }
    } else if unlink(path) != 0, errno != ENOENT {
      throw LabError("\(path): can't be removed: \(Errno.text(errno))")
    }
  }
}
