import Glibc

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
    guard status.st_mode & S_IFMT == S_IFREG else {
      return .refused("is \(describe(mode: status.st_mode)), not a file")
    }
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
