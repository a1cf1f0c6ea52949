import CLinux
import Foundation
import Glibc

/// A running proxy: a child, or one that an agent before this one has started. Held by a pidfd, so that no signal ever
/// reaches another process that got its number.
final class ProxyProcess: Sendable {
  let pid: Int32
  private let handle: Int32
  private let ending: Task<String, Never>

  /// Starts the program with `listener` as its descriptor 3, under its own user and without privileges.
  convenience init(starting configuration: ProxySupervisor.Configuration, listener: Int32) throws(AgentError) {
    let arguments = [
      configuration.program, "--control-fd", "3", "--workers", "\(configuration.workers)", "--log-level",
      configuration.logLevel,
    ]
    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    let cgroup: UnsafeMutablePointer<CChar>? = configuration.cgroup.flatMap { strdup($0) }
    defer {
      for pointer in pointers { free(pointer) }
      free(cgroup)
    }
    var step: UnsafePointer<CChar>?
    let child = pointers.withUnsafeMutableBufferPointer { argv in
      var request = weft_spawn(
        path: argv[0], argv: argv.baseAddress, inherited_fd: listener, cgroup: cgroup, uid: configuration.uid)
      return weft_spawn_proxy(&request, &step)
    }
    guard child > 0 else {
      throw .system("start \(configuration.program): \(step.map { String(cString: $0) } ?? "start")", -child)
    }
    let handle = weft_pidfd_open(child)
    guard handle >= 0 else {
      // Not reaped yet: the number is still the child's.
      Glibc.kill(child, SIGKILL)
      weft_wait_child(child)
      throw .system("watch the proxy", -handle)
    }
    self.init(pid: child, handle: handle)
  }

  /// nil unless the process runs as `uid`.
  convenience init?(adopting pid: Int32, uid: UInt32) {
    guard pid > 1, uid > 0 else { return nil }
    let handle = weft_pidfd_open(pid)
    guard handle >= 0 else { return nil }
    // Asked with the handle open: what is read is of the process that is held.
    guard Self.user(of: pid) == uid else {
      close(handle)
      return nil
    }
    self.init(pid: pid, handle: handle)
  }

  /// Clock ticks since the machine's start (proc_pid_stat(5), 22); 0: it is gone.
  var startedAt: UInt64 {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
      let end = text.lastIndex(of: ")")
    else { return 0 }
    // What follows the name begins with the third.
    let fields = text[text.index(after: end)...].split(separator: " ")
    return fields.count > 19 ? UInt64(fields[19]) ?? 0 : 0
  }

  private init(pid: Int32, handle: Int32) {
    self.pid = pid
    self.handle = handle
    ending = Task {
      await withCheckedContinuation { continuation in
        // On a thread of its own: waiting blocks.
        Thread.detachNewThread {
          weft_pidfd_wait(handle)
          continuation.resume(returning: Self.describe(weft_wait_child(pid)))
        }
      }
    }
  }

  deinit {
    // The waiting thread holds its own view until the end: a closed descriptor would be another's soon.
    let (ending, handle) = (ending, handle)
    Task {
      _ = await ending.value
      close(handle)
    }
  }

  func kill() { weft_pidfd_kill(handle, SIGKILL) }

  /// Waits for its end, and says how it ended.
  func end() async -> String { await ending.value }

  /// Kills every process of `uid` in the cgroup.
  static func killAll(in cgroup: String?, uid: UInt32, except spared: Set<Int32> = []) {
    for process in all(in: cgroup, uid: uid) where !spared.contains(process.pid) { process.kill() }
  }

  /// The processes of `uid` in the cgroup.
  static func all(in cgroup: String?, uid: UInt32) -> [ProxyProcess] {
    guard let cgroup, let list = try? String(contentsOfFile: cgroup + "/cgroup.procs", encoding: .utf8) else {
      return []
    }
    return list.split(separator: "\n").compactMap { Int32($0) }.compactMap { ProxyProcess(adopting: $0, uid: uid) }
  }

  /// The real user.
  private static func user(of pid: Int32) -> UInt32? {
    guard let status = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("Uid:") })
    else { return nil }
    return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { UInt32($0) }
  }

  private static func describe(_ status: Int32) -> String {
    if status < 0 { return "it ended" }
    return status >= 256 ? "killed by signal \(status - 256)" : "ended with status \(status)"
  }
}
