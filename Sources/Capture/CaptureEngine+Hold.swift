import CLibbpf
import Glibc

/// What the kernel knows of a cgroup that is a pod's, or that holds pods.
public enum CgroupVerdict: Hashable, Sendable {
  /// The pod's sockets are refused (EPERM): connects and datagrams beyond its loopback, and every kind of socket that
  /// isn't TCP or UDP; connections from outside are dropped (`holdInbound`). Pods of the node's own network are never held.
  case held
  /// None of the mesh's.
  case passes
  /// Judged by its network namespace; held in one that isn't enrolled.
  case enrolled
  /// No pod: what is below it without a verdict is a pod that isn't seen yet, and held until `holdUnseen`'s time.
  case podsFolder
}

extension CaptureEngine {
  /// Cgroups that can have a verdict at a time.
  public static let verdictsBound = 8_192

  /// - Parameters:
  ///   - cgroup: as `CgroupTree.identifier` gives it.
  ///   - verdict: nil: none.
  public func judge(cgroup: UInt64, _ verdict: CgroupVerdict?) throws(CaptureError) {
    switch verdict {
    case .held: try maps.hold.set(cgroup, WEFT_POD_HELD)
    case .passes: try maps.hold.set(cgroup, WEFT_POD_PASSES)
    case .enrolled: try maps.hold.set(cgroup, WEFT_POD_ENROLLED)
    case .podsFolder: try maps.hold.set(cgroup, WEFT_POD_FOLDER)
    case nil: try maps.hold.remove(cgroup)
    }
  }

  /// From now on pods below the folder that are held, or unseen, are not connected to from outside.
  public func holdInbound(below folder: String) throws(CaptureError) {
    let layout = PinLayout(configuration.bpffsDirectory)
    try Files.makeFolder(layout.folderLinks)
    let id = try CgroupTree.identifier(of: folder)
    let descriptor = try openFolder(folder)
    defer { close(descriptor) }
    let program = CaptureProgram.ingress
    try PinnedLink.ensure(
      pin: "\(layout.folderLinks)/\(id)", program: try object.program(program.name), type: program.attachType,
      target: id, descriptor: descriptor, what: "\(program.name) to \(folder)")
  }

  /// The folder, by its cgroup's id, holds pods no more.
  public func releaseInbound(folder: UInt64) {
    PinnedLink.remove(pin: "\(PinLayout(configuration.bpffsDirectory).folderLinks)/\(folder)")
  }

  /// Every verdict in force, also those of an agent before this one.
  public func verdicts() throws(CaptureError) -> [UInt64: CgroupVerdict] {
    var verdicts: [UInt64: CgroupVerdict] = [:]
    for cgroup in maps.hold.keys(zero: 0) {
      switch try maps.hold.value(cgroup, initial: 0) {
      case WEFT_POD_HELD: verdicts[cgroup] = .held
      case WEFT_POD_PASSES: verdicts[cgroup] = .passes
      case WEFT_POD_ENROLLED: verdicts[cgroup] = .enrolled
      case WEFT_POD_FOLDER: verdicts[cgroup] = .podsFolder
      default: break
      }
    }
    return verdicts
  }

  /// Puts the verdicts in force, and holds pods that have none for so long from now.
  ///
  /// - Parameters:
  ///   - node: the node's own network namespace.
  ///   - seconds: 0: pods without a verdict pass.
  public func holdUnseen(node: NetworkNamespace, seconds: UInt64) throws(CaptureError) {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    let until = (UInt64(now.tv_sec) + seconds) * 1_000_000_000 + UInt64(now.tv_nsec)
    try maps.holdScope.set(0, weft_hold_scope(node: node.cookie, unseen_until: until))
  }
}
