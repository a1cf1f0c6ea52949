import Glibc

/// What tells that a file is the same as before without reading it.
struct FileIdentity: Hashable, Sendable {
  var device: UInt64
  var inode: UInt64
  var size: Int64
  /// Nanoseconds since 1970. The change time too: a file can be rewritten with its old size and time.
  var modified: Int64
  var changed: Int64

  init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    size = Int64(status.st_size)
    modified = Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
    changed = Int64(status.st_ctim.tv_sec) * 1_000_000_000 + Int64(status.st_ctim.tv_nsec)
  }
}

/// Reads one file of the configuration folder.
enum ConfigFile {
  static let maximumBytes = 4 * 1024 * 1024

  enum Content {
    case bytes([UInt8], FileIdentity)
    /// It was written to meanwhile, or vanished: the next look will tell.
    case unsettled
    case refused(String)
  }

  static func read(_ path: String) -> Content {
    // Non-blocking, so that a FIFO in the file's place does not hold the program.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      return errno == ENOENT ? .unsettled : .refused("can't be opened: \(describe(errno))")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return .refused("can't be examined: \(describe(errno))") }
    guard status.st_mode & S_IFMT == S_IFREG else { return .refused("is \(describe(mode: status.st_mode)), not a file") }
    let identity = FileIdentity(status)
    guard identity.size <= maximumBytes else { return .refused(tooLarge(identity.size)) }
    // One byte more than fstat said, so that a file that grows meanwhile is noticed.
    var bytes = [UInt8](repeating: 0, count: Int(identity.size) + 1)
    var filled = 0
    while filled < bytes.count {
      let count = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress! + filled, $0.count - filled) }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { return .refused("can't be read: \(describe(errno))") }
      if count == 0 { break }
      filled += count
    }
    guard filled < bytes.count, fstat(descriptor, &status) == 0, FileIdentity(status) == identity else {
      return .unsettled
    }
    bytes.removeLast(bytes.count - filled)
    return .bytes(bytes, identity)
  }

  static func tooLarge(_ size: Int64) -> String {
    "has \(size) bytes; at most \(maximumBytes) (4 MiB) are read: split it"
  }

  static func describe(_ code: Int32) -> String { String(cString: strerror(code)) }

  static func describe(mode: mode_t) -> String {
    switch mode & S_IFMT {
    case S_IFDIR: "a folder"
    case S_IFIFO: "a FIFO"
    case S_IFSOCK: "a socket"
    case S_IFCHR, S_IFBLK: "a device"
    case S_IFLNK: "a link"
    default: "something else"
    }
  }
}

extension FileIdentity {
  /// nil where there is no such file.
  init?(path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    self.init(status)
  }
}
