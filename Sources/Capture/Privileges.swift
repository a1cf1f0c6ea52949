import CLinux

/// What the kernel lets this process do: the effective capabilities of the calling thread.
public struct Privileges: OptionSet, Sendable {
  public let rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  // The bits of <linux/capability.h>.
  public static let netAdmin = Privileges(rawValue: 1 << 12)
  public static let sysAdmin = Privileges(rawValue: 1 << 21)
  public static let bpf = Privileges(rawValue: 1 << 39)

  /// Empty where they can't be asked for.
  public static var effective: Privileges {
    var mask: UInt64 = 0
    return weft_thread_capabilities(&mask) == 0 ? Privileges(rawValue: mask) : []
  }
}
