import CLinux
import Capture
import Foundation
import Glibc

/// Who a stub is, by what the kernel knows of its process; nothing that it says itself counts.
struct StubPeer: Hashable, Sendable {
  let pid: Int32
  /// Its cgroup's folder: its container's.
  let cgroup: String
  /// As the cgroup tree names its pod; nil: the folder is in no pod's of Kubernetes.
  let podUID: String?

  /// - Parameter socket: the accepted connection.
  init(of socket: Int32) throws(AgentError) {
    var handle: Int32 = -1
    var pid: pid_t = 0
    let code = weft_peer_process(socket, &handle, &pid)
    guard code == 0 else { throw .system("tell who connected", -code) }
    defer { close(handle) }
    let text = (try? String(contentsOfFile: "/proc/\(pid)/cgroup", encoding: .utf8)) ?? ""
    // A process that is still there has kept its number: what was read is its own.
    var entry = pollfd(fd: handle, events: Int16(POLLIN), revents: 0)
    guard poll(&entry, 1, 0) == 0 else { throw AgentError("the process \(pid) that connected has ended") }
    guard let path = Self.path(text), let tree = try? CgroupTree.find() else {
      throw AgentError("the process \(pid) that connected is in no cgroup that can be seen from here")
    }
    self.pid = pid
    cgroup = tree.mountPoint + path
    podUID = Self.podUID(path)
  }

  /// The version 2 entry of /proc/PID/cgroup; nil where there is none, or it lies outside of this program's own view.
  static func path(_ text: String) -> String? {
    for line in text.split(separator: "\n") where line.hasPrefix("0::/") {
      let path = String(line.dropFirst(3))
      return path.split(separator: "/").contains("..") || path.hasSuffix(" (deleted)") ? nil : path
    }
    return nil
  }

  /// The pod's name in the first folder that is a pod's: what a process makes below its own changes nothing.
  static func podUID(_ path: String) -> String? {
    var isBelowPods = false
    for name in path.split(separator: "/") {
      if isBelowPods, let uid = PodCgroupName.podUID(name) { return uid }
      isBelowPods = isBelowPods || PodCgroupName.isPodsFolder(name)
    }
    return nil
  }

  /// The folder of its pod.
  var podFolder: String {
    guard let podUID else { return cgroup }
    let parts = cgroup.split(separator: "/")
    guard let index = parts.firstIndex(where: { PodCgroupName.podUID($0) == podUID }) else { return cgroup }
    return "/" + parts[...index].joined(separator: "/")
  }
}
