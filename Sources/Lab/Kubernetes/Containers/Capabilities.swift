import KubernetesAPI

/// Linux capabilities by the names of a Pod's `securityContext`. Pure.
enum Capabilities {
  /// In the order of their numbers (linux/capability.h).
  static let names = [
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
  ]
  static let all = UInt64.max
  /// What containerd leaves a container that asks for nothing.
  static let usual = mask([
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
  ])

  static func mask(_ list: [String]) -> UInt64 {
    list.reduce(0) { mask, name in
      let name = name.uppercased()
      if name == "ALL" { return all }
      let short = name.hasPrefix("CAP_") ? String(name.dropFirst(4)) : name
      return names.firstIndex(of: short).map { mask | 1 << UInt64($0) } ?? mask
    }
  }

  /// The bounding set of a container: what is dropped goes first, what is added comes after.
  static func bounding(_ security: JSONNode?) -> UInt64 {
    if security?["privileged"]?.isTrue == true { return all }
    let dropped = mask(security?["capabilities"]?["drop"]?.strings ?? [])
    let added = mask(security?["capabilities"]?["add"]?.strings ?? [])
    return usual & ~dropped | added
  }
}
