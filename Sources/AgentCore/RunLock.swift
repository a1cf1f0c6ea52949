import Glibc

/// Keeps a second agent from the same run directory. The kernel lets go of it with the process.
final class RunLock: Sendable {
  private let descriptor: Int32

  /// Waits up to 2 s for an agent that is ending. Blocks: only for the start.
  init(directory: String) throws(AgentError) {
    let path = directory + "/agent.lock"
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .system("open \(path)", errno) }
    for _ in 0..<40 {
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return }
      usleep(50_000)
    }
    close(descriptor)
    throw AgentError("another weft-agent runs on \(directory): stop it, or choose another --run-dir")
  }

  /// Lets the next agent begin.
  func release() { flock(descriptor, LOCK_UN) }

  deinit { close(descriptor) }
}
