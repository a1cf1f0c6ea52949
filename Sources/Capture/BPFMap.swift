import CLibbpf
import Glibc

/// A map whose keys and values are plain values of `weft_maps.h`. The descriptor belongs to the loaded object.
struct BPFMap<Key: BitwiseCopyable, Value: BitwiseCopyable> {
  let name: String
  let descriptor: CInt

  func value(_ key: Key, initial: Value) throws(CaptureError) -> Value? {
    var key = key
    var value = initial
    if bpf_map_lookup_elem(descriptor, &key, &value) == 0 { return value }
    guard errno == ENOENT else { throw failure("reading") }
    return nil
  }

  /// - Returns: false if `onlyNew` is asked for and the key is there.
  @discardableResult
  func set(_ key: Key, _ value: Value, onlyNew: Bool = false) throws(CaptureError) -> Bool {
    var key = key
    var value = value
    let flags = onlyNew ? UInt64(BPF_NOEXIST) : UInt64(BPF_ANY)
    if bpf_map_update_elem(descriptor, &key, &value, flags) == 0 { return true }
    if onlyNew, errno == EEXIST { return false }
    if errno == E2BIG || errno == ENOSPC {
      throw CaptureError(.argument, "The map \(name) is full: this node holds more than capture is built for")
    }
    throw failure("writing")
  }

  /// An absent key is fine.
  func remove(_ key: Key) throws(CaptureError) {
    var key = key
    if bpf_map_delete_elem(descriptor, &key) != 0, errno != ENOENT, errno != EINVAL { throw failure("removing from") }
  }

  /// A snapshot; entries that come or go meanwhile may or may not be in it. `zero` is any value of the type.
  func keys(zero: Key, limit: Int = 1 << 20) -> [Key] {
    var keys: [Key] = []
    var next = zero
    guard bpf_map_get_next_key(descriptor, nil, &next) == 0 else { return keys }
    while keys.count < limit {
      keys.append(next)
      var current = next
      guard bpf_map_get_next_key(descriptor, &current, &next) == 0 else { break }
    }
    return keys
  }

  private func failure(_ verb: String) -> CaptureError {
    .system("\(verb) the eBPF map \(name)", code: errno)
  }
}

/// Counts a map's entries without knowing its types; nil where the kernel can't iterate it (socket storage).
func countEntries(map: CInt, keySize: Int, limit: Int = 1 << 20) -> Int? {
  var current = [UInt8](repeating: 0, count: max(keySize, 1))
  var next = current
  var count = 0
  guard bpf_map_get_next_key(map, nil, &next) == 0 else { return errno == ENOENT ? 0 : nil }
  while count < limit {
    count += 1
    swap(&current, &next)
    guard bpf_map_get_next_key(map, &current, &next) == 0 else { break }
  }
  return count
}
