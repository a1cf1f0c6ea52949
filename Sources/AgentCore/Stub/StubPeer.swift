import CLinux
import Capture
import Foundation
import Glibc

/// Who a stub is, by what the kernel knows of its process; nothing that it says itself counts.
struct StubPeer: Hashable, Sendable {
  /// A pod's place in the cgroup tree of Kubernetes.
  struct Place: Hashable, Sendable {
    /// As the tree names the pod.
    let podUID: String
    /// The process's cgroup below the pod's folder: `/<container>`, or empty.
    let below: String
  }

  let pid: Int32
  /// Its cgroup's folder: its container's. nil: no path from here leads to it, as out of a cgroup namespace.
  let cgroup: String?
  /// nil: the folder is in no pod's of Kubernetes.
  let place: Place?

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
    let path = Self.path(text)
    place = path.flatMap(Self.place)
    cgroup = path.flatMap { path in
      path.hasPrefix("/..") ? nil : (try? CgroupTree.find()).map { $0.mountPoint + path }
    }
    guard place != nil || cgroup != nil else {
      throw AgentError("the process \(pid) that connected is in no cgroup that can be seen from here")
    }
    self.pid = pid
  }

  /// The version 2 entry of /proc/PID/cgroup, from the root of this program's cgroup namespace on: what lies outside of it
  /// begins with `/..` (cgroup_namespaces(7)). nil where there is none.
  static func path(_ text: String) -> String? {
    for line in text.split(separator: "\n") where line.hasPrefix("0::/") {
      let path = String(line.dropFirst(3))
      return path.hasSuffix(" (deleted)") ? nil : path
    }
    return nil
  }

  /// The pod of the first folder that is a pod's: what a process makes below its own changes nothing. An agent in a cgroup
  /// namespace of its own is in a pod itself, beside others: the pods folder above both need not be named then, and nothing
  /// but a class of service may be.
  static func place(_ path: String) -> Place? {
    let names = path.split(separator: "/")
    var isBelowPods = names.first == ".."
    for (index, name) in names.enumerated() where name != ".." {
      if isBelowPods, let uid = PodCgroupName.podUID(name) {
        return Place(podUID: uid, below: names[(index + 1)...].map { "/\($0)" }.joined())
      }
      isBelowPods = PodCgroupName.isPodsFolder(name) || (isBelowPods && PodCgroupName.isClass(name))
    }
    return nil
  }
}
