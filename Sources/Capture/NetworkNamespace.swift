import CLinux
import Glibc

/// A network namespace, held open: it lives as long as this value, whatever happens to the pod's processes.
public final class NetworkNamespace: Sendable {
  public let descriptor: CInt
  /// The kernel's name for it, never reused until reboot.
  public let cookie: UInt64
  public let inode: UInt64

  /// - Parameter path: `/run/netns/…` or `/proc/PID/ns/net`.
  public convenience init(path: String) throws(CaptureError) {
    try self.init(adopting: try Self.open(path), named: path)
  }

  /// The same, which the calling thread enters for it, and stays in: one of a `NamespaceThread`. Saves a thread of its own.
  public convenience init(entering path: String) throws(CaptureError) {
    try self.init(adopting: try Self.open(path), named: path, reading: weft_netns_enter_cookie)
  }

  private static func open(_ path: String) throws(CaptureError) -> CInt {
    let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw .system("opening the network namespace \(path)", code: errno, reason: .namespace)
    }
    return descriptor
  }

  /// A new one that nothing else refers to. Needs CAP_SYS_ADMIN.
  public convenience init() throws(CaptureError) {
    var descriptor: CInt = -1
    let code = weft_netns_make(&descriptor)
    guard code == 0 else { throw .system("making a network namespace", code: code, reason: .namespace) }
    try self.init(adopting: descriptor, named: "a new namespace")
  }

  /// Takes the descriptor over, also when it throws.
  public convenience init(adopting descriptor: CInt, named name: String) throws(CaptureError) {
    try self.init(adopting: descriptor, named: name, reading: weft_netns_cookie)
  }

  /// - Parameter read: the cookie; its result is an errno value.
  private init(
    adopting descriptor: CInt, named name: String, reading read: (CInt, UnsafeMutablePointer<UInt64>?) -> CInt
  ) throws(CaptureError) {
    self.descriptor = descriptor
    var info = stat()
    _ = fstat(descriptor, &info)
    inode = UInt64(info.st_ino)
    var cookie: UInt64 = 0
    let code = read(descriptor, &cookie)
    self.cookie = cookie
    guard code == 0 else {
      if code == EINVAL { throw CaptureError(.namespace, "\(name) is no network namespace") }
      if code == ENOPROTOOPT {
        throw CaptureError(.kernel, "The kernel has no SO_NETNS_COOKIE (Linux 5.14); use Linux 5.15 or later")
      }
      throw .system("reading the cookie of the network namespace \(name)", code: code, reason: .namespace)
    }
  }

  /// The namespace that a socket lives in, which isn't entered for it.
  public init(of socket: CInt) throws(CaptureError) {
    var namespace: CInt = -1
    let code = weft_netns_of_socket(socket, &namespace)
    guard code == 0 else { throw .system("asking for a socket's network namespace", code: code, reason: .namespace) }
    descriptor = namespace
    var info = stat()
    _ = fstat(namespace, &info)
    inode = UInt64(info.st_ino)
    cookie = Self.cookie(of: socket)
    guard cookie != 0 else {
      throw CaptureError(.kernel, "The kernel has no SO_NETNS_COOKIE (Linux 5.14); use Linux 5.15 or later")
    }
  }

  /// The cookie of a socket's network namespace; 0 where it can't be had.
  public static func cookie(of socket: CInt) -> UInt64 {
    var cookie: UInt64 = 0
    var length = socklen_t(MemoryLayout<UInt64>.size)
    // SO_NETNS_COOKIE, which Glibc doesn't name.
    return getsockopt(socket, SOL_SOCKET, 71, &cookie, &length) == 0 ? cookie : 0
  }

  deinit { close(descriptor) }
}
