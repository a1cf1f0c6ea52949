import CLinux
import Glibc

/// The cgroup that the agent's process is in.
public enum OwnCgroup {
  /// Moves the process there, also out of a container's cgroup namespace.
  ///
  /// Without CAP_SYS_ADMIN a container may not be left where the tree is mounted with `nsdelegate`, as systemd does
  /// (cgroup_namespaces(7)): the process stays in its container's folder then, and ends with it.
  /// - Parameter container: see `container(of:under:)`, as it was before.
  /// - Returns: the folder that it is in now.
  public static func join(_ path: String, from container: String?) throws(AgentError) -> String {
    let code = weft_join_cgroup(path)
    if code == 0 { return path }
    if [ENOENT, EPERM, EACCES].contains(code), let container { return container }
    throw .system("join the cgroup \(path)", code)
  }

  /// The folder of the pod's container that the process is in.
  public static func container(of process: pid_t, under root: String) -> String? {
    let listing = CgroupListing(root: root)
    for pod in listing.tree(listing.podsFolders()).pods {
      for container in pod.containers where CgroupListing.processes(in: pod.path + "/" + container).contains(process) {
        return pod.path + "/" + container
      }
    }
    return nil
  }
}
