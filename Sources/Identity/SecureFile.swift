import Glibc

/// Files that hold secrets or must survive a crash: private, whole or not there at all.
package enum SecureFile {
  /// Reads a regular file of at most `maximumBytes`; nil where there is none.
  ///
  /// - Parameter isPrivate: refuses a file that its group or others can read or write, or that belongs to another
  ///   user than root and this one.
  package static func read(
    _ path: String, maximumBytes: Int, isPrivate: Bool
  ) throws(IdentityError) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      if errno == ENOENT { return nil }
      throw failure(errno, "can't open \(path)")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw failure(errno, "can't examine \(path)") }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw IdentityError(.invalid, "\(path) is not a regular file")
    }
    if isPrivate {
      guard status.st_mode & 0o077 == 0 else {
        throw IdentityError(.denied, "\(path) can be read by others than its owner; run `chmod 600 \(path)`")
      }
      guard status.st_uid == 0 || status.st_uid == geteuid() else {
        throw IdentityError(.denied, "\(path) belongs to user \(status.st_uid); it must be this program's user or root")
      }
    }
    guard status.st_size <= maximumBytes else {
      throw IdentityError(.invalid, "\(path) has \(status.st_size) bytes; at most \(maximumBytes) are read")
    }
    // One byte more than fstat said, so that a file that grows meanwhile is noticed.
    var bytes = [UInt8](repeating: 0, count: Int(status.st_size) + 1)
    var filled = 0
    while filled < bytes.count {
      let count = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress! + filled, $0.count - filled) }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw failure(errno, "can't read \(path)") }
      if count == 0 { break }
      filled += count
    }
    guard filled < bytes.count else { throw IdentityError(.invalid, "\(path) changed while it was read; try again") }
    bytes.removeLast(bytes.count - filled)
    return bytes
  }

  /// Writes the file beside its place, syncs it and moves it there: a crash or a full disk leaves the old file.
  ///
  /// - Parameters:
  ///   - replacing: false fails with `EEXIST` where a file stands already.
  ///   - mode: 0600 unless the file is public.
  package static func write(
    _ chunks: [[UInt8]], to path: String, replacing: Bool, mode: mode_t = 0o600
  ) throws(IdentityError) {
    let temporary = "\(path)\(temporaryMark)\(getpid())-\(UInt32.random(in: 0 ... .max))"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
    guard descriptor >= 0 else { throw failure(errno, "can't create \(temporary)") }
    var code = fchmod(descriptor, mode) == 0 ? 0 : errno
    for chunk in chunks where code == 0 { code = writeAll(chunk, to: descriptor) }
    if code == 0, fsync(descriptor) != 0 { code = errno }
    if close(descriptor) != 0, code == 0 { code = errno }
    if code == 0 {
      let moved = replacing ? rename(temporary, path) : link(temporary, path)
      if moved != 0 { code = errno }
    }
    if code != 0 || !replacing { unlink(temporary) }
    guard code == 0 else { throw failure(code, "can't write \(path)") }
    syncDirectory(of: path)
  }

  /// Makes the directory, and those above it, with mode 0700 where they are missing.
  package static func makeDirectory(_ path: String) throws(IdentityError) {
    if mkdir(path, 0o700) == 0 { return }
    if errno == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex {
      try makeDirectory(String(path[..<slash]))
      if mkdir(path, 0o700) == 0 { return }
    }
    var status = stat()
    let code = errno
    guard code == EEXIST, stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw failure(code, "can't make the directory \(path)")
    }
  }

  /// The names in a directory, without `.` and `..`, sorted; none where it is missing.
  package static func list(_ path: String) throws(IdentityError) -> [String] {
    guard let directory = opendir(path) else {
      if errno == ENOENT { return [] }
      throw failure(errno, "can't list \(path)")
    }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// Removes what a crash between creating and moving left behind. Only for a directory with one writer.
  package static func removeLeftovers(in directory: String) throws(IdentityError) {
    for name in try list(directory) where name.contains(temporaryMark) { unlink("\(directory)/\(name)") }
  }

  package static func remove(_ path: String) throws(IdentityError) {
    guard unlink(path) == 0 || errno == ENOENT else { throw failure(errno, "can't remove \(path)") }
  }

  private static let temporaryMark = ".tmp-"

  private static func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + written, $0.count - written) }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { return errno }
      written += count
    }
    return 0
  }

  private static func syncDirectory(of path: String) {
    let directory = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    // The file is complete either way; without it only the name may be lost in a power failure.
    fsync(descriptor)
    close(descriptor)
  }

  private static func failure(_ code: Int32, _ what: String) -> IdentityError {
    IdentityError(.file(code), "\(what): \(String(cString: strerror(code)))")
  }
}
