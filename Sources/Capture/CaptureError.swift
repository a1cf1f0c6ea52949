import Glibc

/// Why the kernel side of capture can't do what was asked: one sentence that says what failed, which kernel feature or
/// privilege is missing, and what to do.
public struct CaptureError: Error, Equatable, Sendable, CustomStringConvertible {
  public enum Reason: Sendable {
    /// A capability is missing.
    case privilege
    /// The running kernel lacks something.
    case kernel
    /// The eBPF object file.
    case object
    /// Pinned maps of another version of Weft.
    case pinnedLayout
    case bpffs
    case cgroup
    case namespace
    /// A value of the caller is out of bounds.
    case argument
    /// A port that Weft needs in the pod is taken.
    case portTaken
    case system
  }

  public let reason: Reason
  public let description: String

  public init(_ reason: Reason, _ description: String) {
    self.reason = reason
    self.description = description
  }

  static let privilegeRepair =
    "run as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and, to enter pods, CAP_SYS_ADMIN"

  /// A failed call: `code` is an errno value.
  static func system(_ what: String, code: CInt, repair: String? = nil, reason: Reason = .system) -> Self {
    if code == EPERM || code == EACCES {
      return Self(.privilege, "\(what): not permitted; \(repair ?? privilegeRepair)")
    }
    let text = "\(what): \(String(cString: strerror(code)))"
    return Self(reason, repair.map { "\(text); \($0)" } ?? text)
  }
}
