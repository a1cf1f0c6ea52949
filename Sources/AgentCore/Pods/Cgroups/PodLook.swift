import Capture
import Glibc
import MeshModel

/// One look at where a pod's processes live. It enters their network namespaces, so it belongs on a `NamespaceThread`: many
/// pods at once there, since handing each over costs more than looking.
struct PodLook: Sendable {
  struct Opened: Sendable {
    /// Held open: neither the process's end nor another one of its number matters from here on.
    let namespace: NetworkNamespace
    let addresses: [IPAddress]
  }

  /// For each container with a process, the namespace of its first.
  private(set) var found: [(container: String, namespace: UInt64)] = []
  /// Those that weren't known before, by their inodes.
  private(set) var opened: [UInt64: Opened] = [:]

  /// - Parameters:
  ///   - known: the inode of its sandbox, which isn't entered again.
  ///   - node: the inode of the node's own.
  init(at folder: CgroupScan.Folder, known: UInt64?, node: UInt64) {
    for container in folder.containers {
      guard let inode = look(into: "\(folder.path)/\(container)", known: known, node: node) else { continue }
      found.append((container, inode))
    }
  }

  private mutating func look(into container: String, known: UInt64?, node: UInt64) -> UInt64? {
    guard let pid = CgroupListing.firstProcess(in: container) else { return nil }
    let path = "/proc/\(pid)/ns/net"
    var info = stat()
    guard stat(path, &info) == 0 else { return nil }
    let inode = UInt64(info.st_ino)
    if inode == node || inode == known || opened[inode] != nil { return inode }
    guard let namespace = try? NetworkNamespace(entering: path),
      // The number may have become another process's meanwhile.
      CgroupListing.firstProcess(in: container) == pid
    else { return nil }
    if namespace.inode != node {
      opened[namespace.inode] = Opened(namespace: namespace, addresses: PodAddresses.own())
    }
    return namespace.inode
  }
}
