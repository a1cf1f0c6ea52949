/// What a folder of the cgroup tree is by its name: the spellings of the kubelet's two drivers and of the runtimes.
///
/// cgroupfs: `kubepods/burstable/pod<uid>/<64 hex>`. systemd:
/// `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid with _>.slice/cri-containerd-<id>.scope`. Under another
/// root the slices carry its name: `kubelet.slice/kubelet-kubepods.slice/…`.
enum PodCgroupName {
  /// Pods are in it, or in the folders of its classes of service.
  static func isPodsFolder(_ name: Substring) -> Bool {
    name == "kubepods" || name == "kubepods.slice" || name.hasSuffix("-kubepods.slice")
  }

  /// Of a folder in a pods folder: one for a class of service.
  static func isClass(_ name: Substring) -> Bool {
    let kind = stem(name).split(separator: "-").last ?? ""
    return kind == "burstable" || kind == "besteffort"
  }

  /// The pod's UID (of a static pod the hash of its file); nil where the folder is no pod's.
  static func podUID(_ name: Substring) -> String? {
    let isSlice = name.hasSuffix(".slice")
    let stem = stem(name)
    let part: Substring
    if isSlice {
      // systemd takes "-" for a step down the tree: the kubelet writes "_" inside the UID.
      guard let last = stem.split(separator: "-").last else { return nil }
      part = last
    } else {
      part = stem
    }
    guard part.hasPrefix("pod") else { return nil }
    let uid = String(part.dropFirst(3).map { isSlice && $0 == "_" ? "-" : $0 })
    guard (8...64).contains(uid.utf8.count), uid.utf8.allSatisfy({ isHex($0) || $0 == UInt8(ascii: "-") }) else {
      return nil
    }
    return uid
  }

  /// Of a folder in a pod's: whether it's a container's, the sandbox among them. CRI-O's monitor lives in the node's network.
  static func isContainer(_ name: Substring) -> Bool { !name.hasPrefix("crio-conmon-") && !name.hasPrefix("conmon-") }

  private static func stem(_ name: Substring) -> Substring { name.hasSuffix(".slice") ? name.dropLast(6) : name }

  private static func isHex(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
      || (UInt8(ascii: "A")...UInt8(ascii: "F")).contains(byte)
  }
}
