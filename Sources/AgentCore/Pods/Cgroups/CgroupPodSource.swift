import CLinux
import Capture
import Dispatch
import Glibc
import MeshModel

/// Pods from the cgroup tree (Kubernetes), found within milliseconds and without a word with the container runtime: the tree
/// names each pod by its UID, its processes lead to its network namespace, and its addresses are read inside.
public struct CgroupPodSource: PodSource {
  private let root: String
  private let entersPods: Bool

  /// - Parameters:
  ///   - root: the folder at or above the kubelet's pods: `/sys/fs/cgroup`.
  ///   - entersPods: whether network namespaces may be entered (CAP_SYS_ADMIN). Otherwise only the pods' folders are told.
  public init(root: String, entersPods: Bool = true) {
    self.root = root
    self.entersPods = entersPods
  }

  public func events() -> AsyncStream<PodEvent> {
    AsyncStream { continuation in
      let task = Task(priority: .high) {
        do {
          let follower = try CgroupFollower(root: root, entersPods: entersPods) { continuation.yield($0) }
          await follower.run()
        } catch {
          continuation.yield(.problem(of: root, "pods can't be found in the cgroup tree: \(error)"))
        }
        continuation.finish()
      }
      continuation.onTermination = { _ in task.cancel() }
    }
  }
}

/// Reads what the scan asks for and tells what it concludes.
private final class CgroupFollower {
  /// Each pods folder is looked for again in this time, for those that come later.
  private static let searchInterval: UInt64 = 10_000_000_000

  private let listing: CgroupListing
  private let watch = CgroupWatch()
  private let thread: NamespaceThread
  private let node: UInt64
  private let entersPods: Bool
  private let tell: (PodEvent) -> Void
  private var scan = CgroupScan()
  private var podsFolders: [String] = []
  private var searchedAt: UInt64 = 0
  private var toldFolders: [UInt64: String] = [:]
  private var isFirst = true

  init(root: String, entersPods: Bool, tell: @escaping (PodEvent) -> Void) throws {
    listing = CgroupListing(root: root)
    thread = try NamespaceThread()
    node = try NetworkNamespace(path: "/proc/self/ns/net").inode
    self.entersPods = entersPods
    self.tell = tell
  }

  func run() async {
    for await _ in watch.ticks {
      guard !Task.isCancelled else { return }
      let now = DispatchTime.now().uptimeNanoseconds
      if podsFolders.isEmpty || now > searchedAt + Self.searchInterval {
        podsFolders = listing.podsFolders()
        searchedAt = now
      }
      let tree = listing.tree(podsFolders)
      tell(folders: tree.podsFolders)
      for event in scan.listed(tree.pods, now: now) { perform(event) }
      // The root, for a pods folder that the kubelet has still to make.
      let isBlind = watch.watch(tree.watched + (tree.podsFolders.isEmpty ? [listing.root] : []))
      if entersPods {
        await look(at: scan.wanted(now: now))
      }
      if isFirst, !isBlind {
        isFirst = false
        tell(.synchronized)
      }
      watch.wake(after: isBlind ? 0 : entersPods ? scan.interval(now: now) : CgroupScan.scanInterval)
    }
  }

  private func tell(folders: [(path: String, cgroup: UInt64)]) {
    let now = Dictionary(folders.map { ($0.cgroup, $0.path) }) { first, _ in first }
    guard now != toldFolders else { return }
    toldFolders = now
    tell(.podsFolders(now))
  }

  private func perform(_ event: CgroupScan.Event) {
    switch event {
    case .appeared(let folder):
      tell(
        .folderAppeared(
          PodFolder(
            uid: folder.uid, cgroup: folder.cgroup, path: folder.path, isRunning: !folder.containers.isEmpty)))
    case .vanished(let folder): tell(.folderVanished(cgroup: folder.cgroup))
    case .sandboxGone(let folder): tell(.sandboxVanished(cgroup: folder.cgroup))
    case .sandbox: break
    }
  }

  private func look(at folders: [CgroupScan.Folder]) async {
    guard !folders.isEmpty else { return }
    let (known, node) = (folders.map { scan.namespace(of: $0) }, node)
    let looks = try? await thread.run { zip(folders, known).map { PodLook(at: $0, known: $1, node: node) } }
    for (folder, look) in zip(folders, looks ?? []) {
      for event in scan.looked(folder, found: look.found, node: node, now: DispatchTime.now().uptimeNanoseconds) {
        guard case .sandbox(_, let inode) = event, let opened = look.opened[inode] else {
          perform(event)
          continue
        }
        if opened.addresses.isEmpty {
          // The network plugin isn't through.
          scan.failed(folder)
        } else {
          tell(.sandboxAppeared(cgroup: folder.cgroup, OpenNamespace(opened.namespace), opened.addresses))
        }
      }
    }
  }
}

/// The addresses of the calling thread's network namespace that peers reach a pod by.
enum PodAddresses {
  /// Global ones, at most 8.
  static func own() -> [IPAddress] {
    Array(NodeAddresses.own().filter(isGlobal).prefix(8))
  }

  /// The IPv4 ones of the namespace that a socket lives in, without entering it.
  static func reached(by socket: Int32) -> [IPAddress] {
    var found = [UInt32](repeating: 0, count: 8)
    let count = weft_netns_addresses_of_socket(socket, &found, found.count)
    return found.prefix(max(0, Int(count))).map { IPAddress(v4: $0) }.filter { isGlobal($0) && !$0.isLoopback }
  }

  private static func isGlobal(_ address: IPAddress) -> Bool { address.v4.map { $0 >> 16 != 0xa9fe } ?? true }
}
