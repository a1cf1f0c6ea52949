import CLinux
import Glibc

/// The cgroup that the agent's process is in.
public enum OwnCgroup {
  /// Moves the process there, also out of a container's cgroup namespace.
  public static func join(_ path: String) throws(AgentError) {
    let code = weft_join_cgroup(path)
    guard code == 0 else { throw .system("join the cgroup \(path)", code) }
  }
}
