import Capture
import Glibc

/// What can be checked on this machine without an agent.
enum LocalChecks {
  /// - Parameter cgroupRoot: the capture root; nil for the root of the cgroup v2 tree.
  static func run(cgroupRoot: String?) -> [CheckAnswer.Entry] {
    let root = cgroupRoot ?? (try? CgroupTree.find())?.mountPoint ?? "/sys/fs/cgroup"
    let checks = CaptureEngine.check(
      cgroupRoot: root, bpffs: BPFFilesystem.standardMountPoint, objectPath: objectPath())
    return checks.map { CheckAnswer.Entry(name: $0.name, ok: $0.ok, detail: $0.detail, repair: $0.repair) }
  }

  /// Where weft-agent looks for the eBPF object too; the first that exists, or the first place of all.
  private static func objectPath() -> String {
    if let path = getenv("WEFT_BPF_OBJECT") { return String(cString: path) }
    let name = "weft.bpf.o"
    let folder = programFolder()
    let places =
      ["\(folder)/\(name)"] + ["\(folder)/../..", "\(folder)/../../..", "."].map { "\($0)/bpf/build/\(name)" }
    return places.lazy.compactMap(canonical).first ?? places[0]
  }

  /// The path without links and dots; nil where nothing is there.
  private static func canonical(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  private static func programFolder() -> String {
    guard let path = canonical("/proc/self/exe"), let slash = path.lastIndex(of: "/") else { return "." }
    return String(path[..<slash])
  }
}
