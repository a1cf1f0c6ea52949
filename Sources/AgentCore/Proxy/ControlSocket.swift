import CLinux
import Glibc

/// Unix sockets for this node's own programs.
enum ControlSocket {
  /// A listening socket at `path`, root's alone where no other mode is asked for; whatever was there is replaced.
  static func listen(
    _ path: String, type: __socket_type = SOCK_STREAM, mode: mode_t = 0o600
  ) throws(AgentError) -> Int32 {
    unlink(path)
    let fd = socket(AF_UNIX, Int32(type.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard fd >= 0 else { throw .system("make a Unix socket", errno) }
    let mask = umask(0o777 & ~mode)
    let bound = withAddress(path) { bind(fd, $0, $1) }
    let code = errno
    umask(mask)
    guard bound == 0, Glibc.listen(fd, 64) == 0 else {
      let failure = bound == 0 ? errno : code
      close(fd)
      throw .system("listen on \(path)", failure)
    }
    return fd
  }

  /// A non-blocking connection to whoever listens at `path`; nil where nobody does.
  static func connect(_ path: String) -> Int32? {
    let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard fd >= 0 else { return nil }
    guard withAddress(path, { Glibc.connect(fd, $0, $1) }) == 0 else {
      close(fd)
      return nil
    }
    _ = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)
    return fd
  }

  private static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
      errno = ENAMETOOLONG
      return -1
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
    }
  }
}

/// Why the agent can't do something, in one sentence.
public struct AgentError: Error, Sendable, CustomStringConvertible {
  public let description: String

  public init(_ description: String) { self.description = description }

  static func system(_ action: String, _ code: Int32) -> AgentError {
    AgentError("can't \(action): \(String(cString: strerror(code)))")
  }
}
