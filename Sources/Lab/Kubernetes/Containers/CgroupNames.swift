/// How a kubelet and a container runtime name the cgroups of a pod, below the node's own. Pure.
struct CgroupNames: Sendable {
  enum QoS: String, Sendable { case guaranteed = "Guaranteed", burstable = "Burstable", bestEffort = "BestEffort" }

  let runtime: LabState.NodeRuntime

  /// The pod's cgroup, relative to the node's.
  func pod(uid: String, qos: QoS) -> String {
    let level: String? =
      switch qos {
      case .guaranteed: nil
      case .burstable: "burstable"
      case .bestEffort: "besteffort"
      }
    switch runtime.driver {
    case .cgroupfs: return (["kubepods", level, "pod\(uid)"].compactMap { $0 }).joined(separator: "/")
    case .systemd:
      // A slice's name says its parents, each after a hyphen: the UID's own become underscores.
      let name = uid.map { $0 == "-" ? "_" : String($0) }.joined()
      let parent = level.map { "kubepods-\($0)" } ?? "kubepods"
      let path = level == nil ? ["kubepods.slice"] : ["kubepods.slice", "\(parent).slice"]
      return (path + ["\(parent)-pod\(name).slice"]).joined(separator: "/")
    }
  }

  /// A container's leaf in it, also the sandbox's.
  /// - Parameter id: 64 hexadecimal digits.
  func leaf(_ id: String) -> String {
    switch (runtime.driver, runtime.engine) {
    case (.systemd, .containerd): "cri-containerd-\(id).scope"
    case (.systemd, .crio): "crio-\(id).scope"
    case (.cgroupfs, .containerd): id
    case (.cgroupfs, .crio): "crio-\(id)"
    }
  }

  /// A new container's id.
  static func newID() -> String {
    (0..<4).map { _ in
      let text = String(UInt64.random(in: 0...UInt64.max), radix: 16)
      return String(repeating: "0", count: 16 - text.count) + text
    }.joined()
  }
}
