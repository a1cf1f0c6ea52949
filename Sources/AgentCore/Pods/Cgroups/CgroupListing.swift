import Glibc

/// Reads the cgroup tree: the folders that hold pods, the pods in them, and the processes of a pod's containers. What vanishes
/// while it's read is left out.
struct CgroupListing: Sendable {
  /// Below the root, how deep a pods folder may lie: `a/b/kubelet/kubepods`.
  static let rootDepth = 4
  /// Folders that a search goes through at most.
  static let searchBound = 20_000
  /// Containers of one pod that are looked at.
  static let containersBound = 256

  struct Tree: Sendable {
    /// With their cgroups' ids.
    var podsFolders: [(path: String, cgroup: UInt64)] = []
    /// The folders whose changes matter.
    var watched: [String] = []
    var pods: [CgroupScan.Folder] = []
  }

  let root: String

  /// The folders named `kubepods` in some spelling.
  func podsFolders() -> [String] {
    var found: [String] = []
    var (level, count) = ([root], 0)
    for _ in 0..<Self.rootDepth {
      var next: [String] = []
      for folder in level {
        for name in Self.folders(in: folder) {
          count += 1
          guard count <= Self.searchBound else { return found }
          let path = Self.join(folder, name)
          if PodCgroupName.isPodsFolder(name[...]) { found.append(path) } else { next.append(path) }
        }
      }
      level = next
    }
    return found
  }

  func tree(_ podsFolders: [String]) -> Tree {
    var tree = Tree()
    for folder in podsFolders {
      guard let cgroup = Self.identifier(folder) else { continue }
      tree.podsFolders.append((folder, cgroup))
      tree.watched.append(folder)
      for name in Self.folders(in: folder) {
        let path = Self.join(folder, name)
        if let uid = PodCgroupName.podUID(name[...]) {
          add(pod: uid, path, &tree)
        } else if PodCgroupName.isClass(name[...]) {
          tree.watched.append(path)
          for name in Self.folders(in: path) {
            if let uid = PodCgroupName.podUID(name[...]) { add(pod: uid, Self.join(path, name), &tree) }
          }
        }
      }
    }
    return tree
  }

  private func add(pod uid: String, _ path: String, _ tree: inout Tree) {
    guard let cgroup = Self.identifier(path) else { return }
    tree.watched.append(path)
    let containers = Self.folders(in: path).filter { PodCgroupName.isContainer($0[...]) }.sorted()
    tree.pods.append(
      .init(uid: uid, path: path, cgroup: cgroup, containers: Array(containers.prefix(Self.containersBound))))
  }

  /// The first process of a container; also of one that its runtime, or an init system in it, put into a folder further down.
  static func firstProcess(in folder: String, depth: Int = 3) -> Int32? {
    if let pid = processes(in: folder).first { return pid }
    guard depth > 0 else { return nil }
    for name in folders(in: folder).prefix(64) {
      if let pid = firstProcess(in: join(folder, name), depth: depth - 1) { return pid }
    }
    return nil
  }

  /// The first ones of a folder itself, some 500.
  static func processes(in folder: String) -> some Collection<Int32> {
    (read(folder + "/cgroup.procs", limit: 4096) ?? "").split(separator: "\n").lazy.compactMap { Int32($0) }
      .filter { $0 > 0 }
  }

  private static func join(_ folder: String, _ name: String) -> String {
    folder.hasSuffix("/") ? folder + name : "\(folder)/\(name)"
  }

  private static func identifier(_ path: String) -> UInt64? {
    var info = stat()
    return stat(path, &info) == 0 ? UInt64(info.st_ino) : nil
  }

  private static func folders(in path: String) -> [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      guard entry.pointee.d_type == UInt8(DT_DIR) else { continue }
      let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  /// nil: it can't be read, or is empty.
  static func read(_ path: String, limit: Int) -> String? {
    let fd = open(path, O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else { return nil }
    defer { close(fd) }
    var bytes = [UInt8](repeating: 0, count: limit)
    let count = Glibc.read(fd, &bytes, limit)
    return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
  }
}
