/// What the cgroup tree has told of a node's pods, as a pure state machine: folders and the namespaces of processes in,
/// events out. Times are monotonic nanoseconds.
///
/// A pod's sandbox is the first network namespace other than the node's that one of its processes lives in. A process that is
/// still in the node's says nothing: a runtime moves it a moment later. The sandbox stays while any of the pod's processes is
/// in it, whatever containers come and go; when none is, it is gone, and the next one is looked for. A namespace that has just
/// been found is looked at twice more: a runtime that lives in one of its own moves its processes from there.
struct CgroupScan: Sendable {
  /// A pod's folder as it was seen.
  struct Folder: Hashable, Sendable {
    var uid: String
    var path: String
    /// The kernel's id of the cgroup.
    var cgroup: UInt64
    /// The names of its containers' folders, sorted.
    var containers: [String]
  }

  enum Event: Hashable, Sendable {
    case appeared(Folder)
    case vanished(Folder)
    /// A process of the pod lives in this namespace (its inode), which isn't the node's.
    case sandbox(Folder, namespace: UInt64)
    /// None does any more.
    case sandboxGone(Folder)
  }

  /// After a change a pod is looked at again at once for so long; then only with each full scan.
  static let eagerness: UInt64 = 2_000_000_000
  static let eagerInterval: UInt64 = 3_000_000
  static let scanInterval: UInt64 = 1_000_000_000
  /// After which a namespace that was found is to be found again, and once more: when a burst of pods is through.
  static let confirmation: UInt64 = 1_000_000_000
  static let lastConfirmation: UInt64 = 3_000_000_000
  /// Pods of one node.
  static let podsBound = 4_000

  private struct Pod {
    var folder: Folder
    var changedAt: UInt64
    var sandbox: (container: String, namespace: UInt64)?
    /// When it was found, and when it is to be looked at next; nil: it was twice.
    var foundAt: UInt64 = 0
    var confirmAt: UInt64?
  }

  private var pods: [UInt64: Pod] = [:]

  var count: Int { pods.count }

  /// Takes a whole listing of the tree.
  mutating func listed(_ folders: [Folder], now: UInt64) -> [Event] {
    var events: [Event] = []
    let present = Set(folders.map(\.cgroup))
    for (cgroup, pod) in pods.sorted(by: { $0.key < $1.key }) where !present.contains(cgroup) {
      pods[cgroup] = nil
      if pod.sandbox != nil { events.append(.sandboxGone(pod.folder)) }
      events.append(.vanished(pod.folder))
    }
    for folder in folders.prefix(Self.podsBound) {
      guard let known = pods[folder.cgroup] else {
        pods[folder.cgroup] = Pod(folder: folder, changedAt: now)
        events.append(.appeared(folder))
        continue
      }
      if known.folder.containers != folder.containers {
        pods[folder.cgroup]?.folder = folder
        pods[folder.cgroup]?.changedAt = now
      }
    }
    return events
  }

  /// The inode of the pod's sandbox, where it has one.
  func namespace(of folder: Folder) -> UInt64? { pods[folder.cgroup]?.sandbox?.namespace }

  /// The pods whose processes are to be looked for now: `looked` takes the answers.
  func wanted(now: UInt64) -> [Folder] {
    pods.values.filter { pod in
      guard let sandbox = pod.sandbox else { return !pod.folder.containers.isEmpty }
      return !pod.folder.containers.contains(sandbox.container) || pod.confirmAt.map { now >= $0 } ?? false
    }.map(\.folder).sorted { $0.uid < $1.uid }
  }

  /// What a look at the pod's containers has found: for each with a process, the namespace of its first.
  mutating func looked(
    _ folder: Folder, found: [(container: String, namespace: UInt64)], node: UInt64, now: UInt64
  ) -> [Event] {
    guard let pod = pods[folder.cgroup] else { return [] }
    let others = found.filter { $0.namespace != node }
    if let sandbox = pod.sandbox {
      if let same = others.first(where: { $0.namespace == sandbox.namespace }) {
        pods[folder.cgroup]?.sandbox = (same.container, same.namespace)
        if let time = pod.confirmAt, now >= time {
          let last = pod.foundAt + Self.lastConfirmation
          pods[folder.cgroup]?.confirmAt = now < last ? last : nil
        }
        return []
      }
      // Nothing says that its process has ended, or is elsewhere.
      if others.isEmpty, pod.folder.containers.contains(sandbox.container) {
        if pod.confirmAt != nil { pods[folder.cgroup]?.confirmAt = now + Self.confirmation }
        return []
      }
      pods[folder.cgroup]?.sandbox = nil
      pods[folder.cgroup]?.confirmAt = nil
      return [.sandboxGone(pod.folder)] + take(others.first, pod.folder, now)
    }
    return take(others.first, pod.folder, now)
  }

  /// What was told as a sandbox can't be used: it's looked for again.
  mutating func failed(_ folder: Folder) {
    pods[folder.cgroup]?.sandbox = nil
    pods[folder.cgroup]?.confirmAt = nil
  }

  private mutating func take(
    _ found: (container: String, namespace: UInt64)?, _ folder: Folder, _ now: UInt64
  ) -> [Event] {
    guard let found else { return [] }
    pods[folder.cgroup]?.sandbox = found
    pods[folder.cgroup]?.foundAt = now
    pods[folder.cgroup]?.confirmAt = now + Self.confirmation
    return [.sandbox(folder, namespace: found.namespace)]
  }

  /// Nanoseconds until the next look, where nothing tells of a change before.
  func interval(now: UInt64) -> UInt64 {
    let isEager = pods.values.contains { pod in
      now < pod.changedAt + Self.eagerness && !pod.folder.containers.isEmpty
        && pod.sandbox.map { !pod.folder.containers.contains($0.container) } ?? true
    }
    if isEager { return Self.eagerInterval }
    let confirmation = pods.values.compactMap(\.confirmAt).min().map { $0 > now ? $0 - now : Self.eagerInterval }
    return min(confirmation ?? Self.scanInterval, Self.scanInterval)
  }
}
