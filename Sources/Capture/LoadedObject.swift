import CLibbpf
import Glibc

/// The eBPF object, loaded: programs verified by the kernel, maps made or taken over from their pins. What isn't pinned
/// goes with this value.
final class LoadedObject {
  private let object: OpaquePointer
  let path: String

  /// - Parameter mapsDirectory: where the maps are pinned.
  init(path: String, mapsDirectory: String) throws(CaptureError) {
    self.path = path
    guard Files.exists(path) else {
      throw CaptureError(.object, "There is no eBPF object at \(path); build it: make -C bpf")
    }
    weft_bpf_log_begin()
    guard let opened = weft_bpf_open(path, mapsDirectory) else {
      throw CaptureError(
        .object, "\(path) is no eBPF object that libbpf understands (\(Self.lastLine())); build it again: make -C bpf")
    }
    object = opened  // From here on deinit closes it, also when this throws.
    try checkPinnedMaps(in: mapsDirectory)
    try load()
  }

  deinit { bpf_object__close(object) }

  func map<Key: BitwiseCopyable, Value: BitwiseCopyable>(_ name: String) throws(CaptureError) -> BPFMap<Key, Value> {
    guard let map = bpf_object__find_map_by_name(object, name) else {
      throw CaptureError(.object, "\(path) has no map \(name): it's of another version of Weft; build it: make -C bpf")
    }
    guard Int(bpf_map__key_size(map)) == MemoryLayout<Key>.size,
      Int(bpf_map__value_size(map)) == MemoryLayout<Value>.size
    else {
      throw CaptureError(
        .object, "The map \(name) in \(path) is laid out otherwise than this agent expects; build it: make -C bpf")
    }
    return BPFMap(name: name, descriptor: bpf_map__fd(map))
  }

  func program(_ name: String) throws(CaptureError) -> CInt {
    guard let program = bpf_object__find_program_by_name(object, name) else {
      throw CaptureError(
        .object, "\(path) has no program \(name): it's of another version of Weft; build it: make -C bpf")
    }
    return bpf_program__fd(program)
  }

  /// With their full names: the kernel keeps fifteen bytes.
  var allMaps: [(name: String, descriptor: CInt)] {
    var maps: [(name: String, descriptor: CInt)] = []
    var map = bpf_object__next_map(object, nil)
    while let current = map {
      maps.append((String(cString: bpf_map__name(current)), bpf_map__fd(current)))
      map = bpf_object__next_map(object, current)
    }
    return maps
  }

  /// libbpf would say only that a map can't be reused.
  private func checkPinnedMaps(in directory: String) throws(CaptureError) {
    var next = bpf_object__next_map(object, nil)
    while let map = next {
      next = bpf_object__next_map(object, map)
      let name = String(cString: bpf_map__name(map))
      let pin = "\(directory)/\(name)"
      guard Files.exists(pin) else { continue }
      let descriptor = bpf_obj_get(pin)
      guard descriptor >= 0 else { throw .system("opening the pinned map \(pin)", code: errno) }
      defer { close(descriptor) }
      var info = bpf_map_info()
      var length = UInt32(MemoryLayout<bpf_map_info>.size)
      guard bpf_obj_get_info_by_fd(descriptor, &info, &length) == 0 else {
        throw .system("reading the pinned map \(pin)", code: errno)
      }
      guard info.type == bpf_map__type(map).rawValue, info.key_size == bpf_map__key_size(map),
        info.value_size == bpf_map__value_size(map), info.max_entries == bpf_map__max_entries(map),
        info.map_flags == bpf_map__map_flags(map), name != "weft_heartbeat" || hasOwnLayout(descriptor)
      else { throw Self.layoutChanged(name, directory) }
    }
  }

  /// A map just made, or one that this version filled.
  private func hasOwnLayout(_ heartbeat: CInt) -> Bool {
    var key: UInt32 = 0
    var value = weft_heartbeat()
    guard bpf_map_lookup_elem(heartbeat, &key, &value) == 0 else { return false }
    return value.layout == 0 || value.layout == UInt32(WEFT_LAYOUT_VERSION)
  }

  private static func layoutChanged(_ name: String, _ directory: String) -> CaptureError {
    CaptureError(
      .pinnedLayout,
      "The pinned map \(directory)/\(name) was made by a version of Weft that lays it out otherwise. That version's "
        + "proxy serves on. `weft uninstall` and then `weft install` replace it, and end the connections that it carries; on one "
        + "node `weft-agent clean` does")
  }

  private func load() throws(CaptureError) {
    let code = -bpf_object__load(object)
    guard code > 0 else { return }
    let log = Self.lastLine()
    if code == EPERM {
      throw CaptureError(.privilege, "Loading the eBPF programs is not permitted; \(CaptureError.privilegeRepair)")
    }
    let repair =
      "capture needs Linux 5.15 or later with CONFIG_BPF_SYSCALL, "
      + "CONFIG_CGROUP_BPF, CONFIG_BPF_JIT, CONFIG_NET_SOCK_MSG and CONFIG_DEBUG_INFO_BTF; see `weft check`"
    throw CaptureError(
      .kernel, "The kernel refused the eBPF programs of \(path) (\(String(cString: strerror(code))): \(log)); \(repair)"
    )
  }

  /// What libbpf or the verifier said last that says something.
  private static func lastLine() -> String {
    let lines = String(cString: weft_bpf_log()).split(separator: "\n")
    return lines.last { !$0.contains("failed to load object") && !$0.hasPrefix("-- ") }.map(String.init)
      ?? String(cString: strerror(errno))
  }
}
