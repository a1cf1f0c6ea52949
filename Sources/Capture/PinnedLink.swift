import CLibbpf
import Glibc

/// An attachment that outlives its process through a pin.
enum PinnedLink {
  enum Outcome {
    /// The program was swapped in place: at no moment was none attached.
    case updated
    case created
  }

  /// Attaches `program`, or swaps it in if the pin already holds a link to the same target.
  ///
  /// - Parameters:
  ///   - target: the cgroup's id or the namespace's inode, to tell a stale pin.
  ///   - descriptor: the cgroup or the namespace.
  @discardableResult
  static func ensure(
    pin: String, program: CInt, type: bpf_attach_type, target: UInt64, descriptor: CInt, what: String
  ) throws(CaptureError) -> Outcome {
    if Files.exists(pin) {
      if update(pin: pin, program: program, target: target) { return .updated }
      unlink(pin)
    }
    let link = bpf_link_create(program, descriptor, type, nil)
    guard link >= 0 else {
      let code = errno
      if code == EINVAL || code == EOPNOTSUPP {
        throw CaptureError(
          .kernel,
          "The kernel can't attach \(what): it needs CONFIG_CGROUP_BPF and Linux 5.15 or later; see `weft check`")
      }
      throw .system("attaching \(what)", code: code)
    }
    defer { close(link) }
    guard bpf_obj_pin(link, pin) == 0 else { throw .system("pinning \(what) at \(pin)", code: errno, reason: .bpffs) }
    return .created
  }

  /// Swaps the program of a pinned link; false if the link is gone, or leads elsewhere than `target` (nil: anywhere).
  static func update(pin: String, program: CInt, target: UInt64?) -> Bool {
    let link = bpf_obj_get(pin)
    guard link >= 0 else { return false }
    defer { close(link) }
    var info = weft_link_info()
    guard weft_bpf_link_info(link, &info) == 0, info.target != 0, target == nil || info.target == target else {
      return false
    }
    return bpf_link_update(link, program, nil) == 0
  }

  static func info(pin: String) -> weft_link_info? {
    let link = bpf_obj_get(pin)
    guard link >= 0 else { return nil }
    defer { close(link) }
    var info = weft_link_info()
    return weft_bpf_link_info(link, &info) == 0 ? info : nil
  }

  /// Removes the pin; with it goes the attachment, unless a process holds the link.
  static func remove(pin: String) {
    let link = bpf_obj_get(pin)
    if link >= 0 {
      _ = bpf_link_detach(link)
      close(link)
    }
    unlink(pin)
  }
}
