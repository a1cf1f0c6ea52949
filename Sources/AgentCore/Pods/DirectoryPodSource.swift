import Glibc
import MeshModel

/// Pods from a folder of JSON files, one a pod, each written by rename. Files are read only where their inode, size or
/// time has changed. A file that can't be used is told once and changes nothing.
public struct DirectoryPodSource: PodSource {
  private static let podsBound = 1000

  private let directory: String

  public init(directory: String) { self.directory = directory }

  public func events() -> AsyncStream<PodEvent> {
    AsyncStream { continuation in
      let task = Task {
        let watch = FolderWatch(directory)
        var scan = Scan(directory: directory)
        var isFirst = true
        for await _ in watch.ticks {
          watch.arm()
          for event in scan.changes() { continuation.yield(event) }
          if isFirst { continuation.yield(.synchronized) }
          isFirst = false
        }
        continuation.finish()
      }
      continuation.onTermination = { _ in task.cancel() }
    }
  }

  /// What was seen last.
  struct Scan {
    private struct Entry {
      var stamp: Stamp
      var uid: String?
      var isBroken = false
    }

    private struct Stamp: Equatable {
      var inode: UInt64
      var size: Int
      var seconds: Int
      var nanoseconds: Int
    }

    let directory: String
    private var entries: [String: Entry] = [:]
    private var lastProblem = ""

    init(directory: String) { self.directory = directory }

    mutating func changes() -> [PodEvent] {
      guard let names = list() else {
        return problem("the pods folder \(directory) can't be read: \(String(cString: strerror(errno)))")
      }
      guard names.count <= DirectoryPodSource.podsBound else {
        return problem(
          "the pods folder \(directory) holds \(names.count) files; at most \(DirectoryPodSource.podsBound)")
      }
      var events: [PodEvent] = lastProblem.isEmpty ? [] : [.repaired(of: directory)]
      lastProblem = ""
      let seen = names.compactMap { name in stamp(name).map { (name, $0) } }
      // Gone first: a pod may come back in another file.
      let present = Set(seen.map(\.0))
      for (name, entry) in entries.sorted(by: { $0.key < $1.key }) where !present.contains(name) {
        entries[name] = nil
        if entry.isBroken { events.append(.repaired(of: path(name))) }
        if let uid = entry.uid { events.append(.vanished(uid: uid)) }
      }
      for (name, stamp) in seen where entries[name]?.stamp != stamp { look(at: name, stamp, &events) }
      return events
    }

    private mutating func look(at name: String, _ stamp: Stamp, _ events: inout [PodEvent]) {
      let known = entries[name]?.uid
      do throws(PodFileError) {
        let sandbox = try PodFile.read(path(name))
        if let other = entries.first(where: { $0.key != name && $0.value.uid == sandbox.uid })?.key {
          throw PodFileError("uid: \(sandbox.uid) is the pod of \(other) already")
        }
        if entries[name]?.isBroken == true { events.append(.repaired(of: path(name))) }
        if let known, known != sandbox.uid { events.append(.vanished(uid: known)) }
        entries[name] = Entry(stamp: stamp, uid: sandbox.uid)
        events.append(.appeared(sandbox))
      } catch {
        // What was known of this pod stays.
        entries[name] = Entry(stamp: stamp, uid: known, isBroken: true)
        events.append(.problem(of: path(name), "\(path(name)): \(error.description)"))
      }
    }

    private func path(_ name: String) -> String { "\(directory)/\(name)" }

    private mutating func problem(_ text: String) -> [PodEvent] {
      defer { lastProblem = text }
      return text == lastProblem ? [] : [.problem(of: directory, text)]
    }

    /// nil where the folder can't be read.
    private func list() -> [String]? {
      guard let folder = opendir(directory) else { return nil }
      defer { closedir(folder) }
      var names: [String] = []
      while let entry = readdir(folder) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name.hasSuffix(".json") { names.append(name) }
      }
      return names.sorted()
    }

    /// nil for what is no regular file.
    private func stamp(_ name: String) -> Stamp? {
      var info = stat()
      guard lstat("\(directory)/\(name)", &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return nil }
      return Stamp(
        inode: UInt64(info.st_ino), size: Int(info.st_size), seconds: info.st_mtim.tv_sec,
        nanoseconds: info.st_mtim.tv_nsec)
    }
  }
}
