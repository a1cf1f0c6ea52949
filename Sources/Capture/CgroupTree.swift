import Glibc

/// The cgroup v2 hierarchy of this machine.
public struct CgroupTree: Sendable {
  /// Where it's mounted.
  public let mountPoint: String

  public init(mountPoint: String) {
    self.mountPoint = mountPoint
  }

  /// Found in /proc/mounts: the pure layout mounts it at /sys/fs/cgroup, the hybrid one beside version 1.
  public static func find(mounts path: String = "/proc/mounts") throws(CaptureError) -> CgroupTree {
    for line in (Files.read(path) ?? "").split(separator: "\n") {
      let fields = line.split(separator: " ")
      if fields.count >= 3, fields[2] == "cgroup2" { return CgroupTree(mountPoint: unescape(fields[1])) }
    }
    throw CaptureError(
      .cgroup,
      "No cgroup v2 hierarchy is mounted, which the connect hooks attach to; mount one: "
        + "mount -t cgroup2 none /sys/fs/cgroup/unified")
  }

  /// The kernel's id of a cgroup, as `bpf_get_current_cgroup_id` gives it: the folder's inode number.
  public static func identifier(of path: String) throws(CaptureError) -> UInt64 {
    var info = stat()
    guard stat(path, &info) == 0 else { throw .system("reading the cgroup \(path)", code: errno, reason: .cgroup) }
    guard info.st_mode & S_IFMT == S_IFDIR else { throw CaptureError(.cgroup, "\(path) is no cgroup: no folder") }
    return UInt64(info.st_ino)
  }

  /// The calling process's own cgroup, as a path.
  public func own() throws(CaptureError) -> String {
    for line in (Files.read("/proc/self/cgroup") ?? "").split(separator: "\n") where line.hasPrefix("0::") {
      let path = line.dropFirst(3)
      return path == "/" ? mountPoint : mountPoint + path
    }
    throw CaptureError(.cgroup, "/proc/self/cgroup names no cgroup v2: the kernel was started without it")
  }

  /// /proc/mounts writes a space as \040.
  private static func unescape(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3,
        let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        bytes.append(value)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
