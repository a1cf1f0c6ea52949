/// FNV-1a over bytes, one step at a time, so that one pass over a path has the hash of each of its prefixes.
enum ByteHash {
  static let start: UInt64 = 0xcbf2_9ce4_8422_2325

  @inline(__always) static func step(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
    (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3
  }

  static func of(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(start, step) }
}

/// An immutable map from byte strings to their place in the list that it was made of: open addressing with linear
/// probing, at most half full, keys in one arena. Looking up allocates nothing, which a `Dictionary` of strings would.
struct ByteTable: Sendable {
  private struct Slot {
    var hash: UInt64 = 0
    var start: UInt32 = 0
    var count: UInt32 = 0
    /// -1: free.
    var value: Int32 = -1
  }

  private var slots: [Slot] = []
  private var arena: [UInt8] = []
  /// The longest key's, in bytes; -1 without keys.
  private(set) var longest = -1

  var isEmpty: Bool { longest < 0 }

  /// - Parameter keys: distinct, each with the hash that `find` will be given for it.
  init(_ keys: [(bytes: [UInt8], hash: UInt64)]) {
    guard !keys.isEmpty else { return }
    var capacity = 4
    while capacity < keys.count * 2 { capacity *= 2 }
    slots = Array(repeating: Slot(), count: capacity)
    for (index, key) in keys.enumerated() {
      var place = Self.place(of: key.hash) & (capacity - 1)
      while slots[place].value >= 0 { place = (place + 1) & (capacity - 1) }
      slots[place] = Slot(
        hash: key.hash, start: UInt32(arena.count), count: UInt32(key.bytes.count), value: Int32(index))
      arena += key.bytes
      longest = max(longest, key.bytes.count)
    }
  }

  /// The place of that key; nil where it isn't here.
  /// - Parameter foldingCase: compares `key`'s ASCII letters as lower case.
  func find(hash: UInt64, _ key: UnsafeRawBufferPointer, foldingCase: Bool = false) -> Int? {
    guard key.count <= longest else { return nil }
    return slots.withUnsafeBufferPointer { slots in
      let mask = slots.count - 1
      var place = Self.place(of: hash) & mask
      while slots[place].value >= 0 {
        let slot = slots[place]
        if slot.hash == hash, Int(slot.count) == key.count, isEqual(slot, key, foldingCase) { return Int(slot.value) }
        place = (place + 1) & mask
      }
      return nil
    }
  }

  private func isEqual(_ slot: Slot, _ key: UnsafeRawBufferPointer, _ foldingCase: Bool) -> Bool {
    arena.withUnsafeBufferPointer { arena in
      var index = 0
      let start = Int(slot.start)
      while index < key.count {
        let byte = foldingCase ? key[index].asciiLowercase : key[index]
        if byte != arena[start + index] { return false }
        index += 1
      }
      return true
    }
  }

  /// FNV's low bits are its weakest.
  private static func place(of hash: UInt64) -> Int { Int(truncatingIfNeeded: hash ^ (hash >> 29)) & Int.max }
}
