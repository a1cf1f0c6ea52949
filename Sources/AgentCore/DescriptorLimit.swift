import Glibc

/// Descriptors: a pod costs the agent six, and sockets on their way to the proxy count too.
public enum DescriptorLimit {
  /// What this process may have, and its proxy too.
  static let current: Int = {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
    return Int(min(limit.rlim_max, 1 << 20))
  }()

  /// Raises this process's limit to what it may have; a system that says no leaves it as it was.
  public static func raise() {
    var limit = rlimit()
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    guard getrlimit(resource, &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    _ = setrlimit(resource, &limit)
  }
}
