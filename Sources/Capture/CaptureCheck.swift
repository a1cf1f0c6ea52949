import CLibbpf
import CLinux
import Glibc

/// One thing that capture needs from this machine.
public struct CaptureCheck: Sendable, Codable, Hashable {
  public let name: String
  public let ok: Bool
  public let detail: String
  /// What to do; empty when `ok`.
  public let repair: String

  public init(_ name: String, ok: Bool, detail: String, repair: String) {
    self.name = name
    self.ok = ok
    self.detail = detail
    self.repair = ok ? "" : repair
  }
}

extension CaptureEngine {
  /// Looks without changing anything. Needs no privilege to run, but says less without.
  public static func check(cgroupRoot: String, bpffs: String, objectPath: String) -> [CaptureCheck] {
    let privileges = checkPrivileges()
    let mayProbe = privileges.allSatisfy(\.ok)
    return [checkKernel(), checkBTF()] + privileges
      + [
        checkCgroup(cgroupRoot),
        probe("cgroup hooks", mayProbe, "CONFIG_CGROUP_BPF=y") {
          libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, nil) == 1
            && libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SOCK_OPS, nil) == 1
            && libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_CGROUP_SOCKOPT, nil) == 1
        },
        probe("sk_lookup", mayProbe, "CONFIG_BPF_SYSCALL=y and CONFIG_INET=y, Linux 5.9 or later") {
          libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SK_LOOKUP, nil) == 1
        },
        probe("sockhash", mayProbe, "CONFIG_NET_SOCK_MSG=y") {
          libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SOCKHASH, nil) == 1
        },
        probe("socket storage", mayProbe, "CONFIG_BPF_SYSCALL=y, Linux 5.2 or later") {
          libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, nil) == 1
        },
        CaptureCheck(
          "bpffs", ok: BPFFilesystem.holds(bpffs), detail: bpffs,
          repair: "mount -t bpf bpf \(BPFFilesystem.standardMountPoint)"),
        checkObject(objectPath),
      ]
  }

  private static func checkKernel() -> CaptureCheck {
    let release = (Files.read("/proc/sys/kernel/osrelease") ?? "unknown").split(separator: "\n").first.map(String.init)
    let numbers = (release ?? "").split(whereSeparator: { !$0.isNumber }).prefix(2).compactMap { Int($0) }
    let version = numbers.count == 2 ? (numbers[0], numbers[1]) : (0, 0)
    return CaptureCheck(
      "kernel", ok: version >= (5, 15), detail: "Linux \(release ?? "unknown")",
      repair: "use Linux 5.15 or later: netns cookies in socket hooks came with it")
  }

  private static func checkBTF() -> CaptureCheck {
    let path = "/sys/kernel/btf/vmlinux"
    return CaptureCheck(
      "btf", ok: access(path, R_OK) == 0, detail: path, repair: "use a kernel with CONFIG_DEBUG_INFO_BTF=y")
  }

  private static func checkPrivileges() -> [CaptureCheck] {
    let effective = Privileges.effective
    return [("CAP_BPF", Privileges.bpf), ("CAP_NET_ADMIN", .netAdmin)].map { name, privilege in
      let ok = effective.contains(privilege)
      return CaptureCheck(
        name.lowercased(), ok: ok, detail: ok ? "effective" : "missing", repair: "run as root, or add \(name)")
    } + [
      CaptureCheck(
        "cap_sys_admin", ok: true,
        detail: effective.contains(.sysAdmin)
          ? "effective" : "missing: no pod is entered, and only those whose stub opens their sockets are served",
        repair: "")
    ]
  }

  private static func checkCgroup(_ root: String) -> CaptureCheck {
    let tree: CgroupTree
    do throws(CaptureError) {
      tree = try CgroupTree.find()
    } catch {
      return CaptureCheck("cgroup v2", ok: false, detail: error.description, repair: "mount a cgroup v2 hierarchy")
    }
    // By a file that version 1 hasn't: in a container a part of the tree is mounted where it isn't on the machine.
    return CaptureCheck(
      "cgroup v2", ok: access(root + "/cgroup.controllers", F_OK) == 0, detail: root,
      repair: "choose a capture root under \(tree.mountPoint)")
  }

  private static func probe(_ name: String, _ allowed: Bool, _ need: String, _ works: () -> Bool) -> CaptureCheck {
    guard allowed else {
      return CaptureCheck(
        name, ok: false, detail: "not looked at: privileges are missing", repair: CaptureError.privilegeRepair)
    }
    weft_bpf_log_begin()
    let ok = works()
    return CaptureCheck(
      name, ok: ok, detail: ok ? "works" : "the kernel refuses it", repair: "use a kernel with \(need)")
  }

  private static func checkObject(_ path: String) -> CaptureCheck {
    weft_bpf_log_begin()
    let object = weft_bpf_open(path, nil)
    let count = object.map { object in
      CaptureProgram.all.count { bpf_object__find_program_by_name(object, $0.name) != nil }
    }
    bpf_object__close(object)
    return CaptureCheck(
      "ebpf object", ok: count == CaptureProgram.all.count,
      detail: count.map { "\(path): \($0) of \(CaptureProgram.all.count) programs" } ?? "\(path) can't be read",
      repair: "build it: make -C bpf")
  }
}
