import CLinux
import Foundation

/// Named network namespaces, as `ip netns` keeps them.
enum NetworkNamespace {
  static func all() -> [String] { Files.names(in: Layout.namespaceFolder) }

  /// Takes the name away; the namespace itself ends with its last process and socket.
  static func remove(_ name: String) throws {
    let path = "\(Layout.namespaceFolder)/\(name)"
    // A name whose mount was never made is a plain file (EINVAL).
    guard umount2(path, Int32(MNT_DETACH)) == 0 || errno == EINVAL || errno == ENOENT else {
      throw LabError("\(path): can't be unmounted: \(Errno.text(errno))")
    }
    guard unlink(path) == 0 || errno == ENOENT else {
      throw LabError("\(path): can't be removed: \(Errno.text(errno))")
    }
  }

  /// Writes sysctls (`net/ipv4/ip_forward`) of one namespace; those that this kernel doesn't have are left out.
  static func set(_ settings: [(name: String, value: String)], in name: String) throws {
    let path = "\(Layout.namespaceFolder)/\(name)"
    let namespace = open(path, O_RDONLY | O_CLOEXEC)
    guard namespace >= 0 else { throw LabError("\(path): can't be opened: \(Errno.text(errno))") }
    defer { close(namespace) }
    let strings = settings.map { (strdup("/proc/sys/\($0.name)"), strdup($0.value)) }
    defer {
      for (name, value) in strings {
        free(name)
        free(value)
      }
    }
    let list = strings.map { weft_lab_setting(path: $0.0, value: $0.1) }
    var failed = 0
    let error = weft_lab_write_settings(namespace, list, list.count, &failed)
    guard error == 0 else {
      let what = failed < settings.count ? "setting \(settings[failed].name)" : "entering"
      throw LabError("\(path): \(what) failed: \(Errno.text(error))")
    }
  }
}
