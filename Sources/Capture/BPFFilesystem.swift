import CLinux
import Glibc

/// The file system that keeps eBPF programs, links and maps alive without a process.
public enum BPFFilesystem {
  public static let standardMountPoint = "/sys/fs/bpf"

  /// Is the path, or the nearest folder above it that exists, on a BPF file system?
  public static func holds(_ path: String) -> Bool {
    var path = path
    while true {
      let answer = weft_is_bpffs(path)
      if answer >= 0 { return answer == 1 }
      guard answer == -ENOENT, let slash = path.lastIndex(of: "/") else { return false }
      path = slash == path.startIndex ? "/" : String(path[..<slash])
      if path == "/" { return false }
    }
  }

  /// Makes `directory` on a BPF file system; mounts one at /sys/fs/bpf if the path is below it and none is there.
  public static func ensureMounted(_ directory: String) throws(CaptureError) {
    if !holds(directory) {
      guard (directory + "/").hasPrefix(standardMountPoint + "/") else {
        throw CaptureError(
          .bpffs,
          "\(directory) is not on a BPF file system, which pinned programs need; mount one (mount -t bpf bpf FOLDER) "
            + "or choose a folder under \(standardMountPoint)")
      }
      let code = weft_mount_bpffs(standardMountPoint)
      guard code == 0 || code == EBUSY else {
        throw .system(
          "mounting the BPF file system at \(standardMountPoint)", code: code,
          repair: "mount it before (mount -t bpf bpf \(standardMountPoint)), or give CAP_SYS_ADMIN", reason: .bpffs)
      }
    }
    try Files.makeFolder(directory)
  }
}
