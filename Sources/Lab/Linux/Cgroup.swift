import Foundation

/// The cgroup v2 tree.
enum Cgroup {
  /// Where cgroup v2 is mounted.
  static func mountPoint() throws -> String {
    for line in (Files.text("/proc/self/mountinfo") ?? "").split(separator: "\n") {
      // Fields before " - " vary in number (proc_pid_mountinfo(5)); the mount point is the fifth.
      guard let separator = line.range(of: " - "), line[separator.upperBound...].hasPrefix("cgroup2 ") else { continue }
      let fields = line[..<separator.lowerBound].split(separator: " ")
      if fields.count >= 5 { return String(fields[4]) }
    }
    throw LabError("cgroup v2 isn't mounted. Mount it: mount -t cgroup2 none /sys/fs/cgroup")
  }

  /// The cgroup that a process is in.
  static func own(of pid: Int32) throws -> String {
    for line in (Files.text("/proc/\(pid)/cgroup") ?? "").split(separator: "\n") where line.hasPrefix("0::") {
      return try mountPoint() + line.dropFirst(3)
    }
    throw LabError("process \(pid) has ended")
  }

  static func make(_ path: String) throws {
    do {
      try Files.makeFolder(path)
    } catch {
      throw LabError("\(error). The lab needs root and a writable cgroup v2 tree.")
    }
  }

  /// The processes in this cgroup, without those in its children.
  static func processes(_ path: String) -> [Int32] {
    (Files.text("\(path)/cgroup.procs") ?? "").split(separator: "\n").compactMap { Int32($0) }
  }

  /// The same with those in its children.
  static func allProcesses(_ path: String) -> [Int32] {
    processes(path) + children(path).flatMap { allProcesses($0) }
  }

  static func children(_ path: String) -> [String] {
    Files.names(in: path).map { "\(path)/\($0)" }.filter { Files.isFolder($0) }
  }

  /// Ends every process in the tree by SIGKILL, and waits until none is left.
  static func killAll(_ path: String, seconds: Double = 5) throws {
    guard Files.isFolder(path) else { return }
    let isEmpty = Waiting.poll(seconds: seconds, uninterrupted: true) {
      // `cgroup.kill` came with Linux 5.14; it leaves no moment for a fork to escape.
      let file = open("\(path)/cgroup.kill", O_WRONLY | O_CLOEXEC)
      if file >= 0 {
        _ = Foundation.write(file, "1", 1)
        close(file)
      } else {
        for pid in allProcesses(path) { kill(pid, SIGKILL) }
      }
      return allProcesses(path).isEmpty
    }
    guard isEmpty else {
      throw LabError("\(path): processes don't end: \(allProcesses(path).map(String.init).joined(separator: ", "))")
    }
  }

  /// Removes an emptied tree. A process that has just ended may hold its cgroup for a moment.
  static func remove(_ path: String, seconds: Double = 5) throws {
    guard Files.isFolder(path) else { return }
    for child in children(path) { try remove(child, seconds: seconds) }
    let isGone = Waiting.poll(seconds: seconds, uninterrupted: true) { rmdir(path) == 0 || errno == ENOENT }
    guard isGone else { throw LabError("\(path): can't be removed: \(Errno.text(errno))") }
  }
}
