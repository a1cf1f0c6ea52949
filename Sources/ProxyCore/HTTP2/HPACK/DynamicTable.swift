/// A dynamic table (RFC 7541 §2.3.2): its entries in a ring, their bytes in one piece of storage, oldest first.
///
/// Entries have a number that counts up from 0; the newest is `inserted - 1` and has the index 62.
struct DynamicTable {
  struct Entry {
    /// Where the name begins, counted from the first byte that ever came in; the value follows.
    var position = 0
    var nameCount: Int32 = 0
    var valueCount: Int32 = 0
    var kind = FieldKind.regular
    var hash: UInt64 = 0

    var size: Int { Int(nameCount) + Int(valueCount) + DynamicTable.overhead }
  }

  /// What an entry counts beyond its bytes (§4.1).
  static let overhead = 32
  /// SETTINGS_HEADER_TABLE_SIZE's initial value, and the most that is used in either direction.
  static let largest = 4096
  private static let ringSize = 128

  private(set) var inserted = 0
  private(set) var maximum = DynamicTable.largest
  private(set) var size = 0
  private var evicted = 0
  private var ring: [Entry] = []
  private var bytes: [UInt8] = []
  /// How many bytes came before the storage's first.
  private var base = 0

  var count: Int { inserted - evicted }

  /// nil: gone, or never there.
  func entry(number: Int) -> Entry? {
    number >= evicted && number < inserted ? ring[number & (Self.ringSize - 1)] : nil
  }

  /// By its distance from the newest.
  func entry(age: Int) -> Entry? { age < count ? ring[(inserted - 1 - age) & (Self.ringSize - 1)] : nil }

  /// Name and value, one behind the other.
  @inline(__always)
  func withBytes<Result>(of entry: Entry, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    bytes.withUnsafeBytes { all in
      let start = entry.position - base
      return body(
        UnsafeRawBufferPointer(rebasing: all[start..<start + Int(entry.nameCount) + Int(entry.valueCount)]))
    }
  }

  /// Adds what lies outside of the table's own storage. One too big for the table only empties it (§4.4).
  mutating func insert(
    name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, kind: FieldKind, hash: UInt64 = 0
  ) {
    let needed = name.count + value.count + Self.overhead
    evict(downTo: maximum - needed)
    guard needed <= maximum else { return }
    if ring.isEmpty { ring = [Entry](repeating: Entry(), count: Self.ringSize) }
    let oldest = count > 0 ? ring[evicted & (Self.ringSize - 1)].position : base + bytes.count
    // Moving what is alive costs no more than the bytes that came in since the last time.
    if oldest - base >= Self.largest {
      bytes.removeSubrange(..<(oldest - base))
      base = oldest
    }
    let entry = Entry(
      position: base + bytes.count, nameCount: Int32(name.count), valueCount: Int32(value.count), kind: kind,
      hash: hash)
    bytes.append(contentsOf: name)
    bytes.append(contentsOf: value)
    ring[inserted & (Self.ringSize - 1)] = entry
    inserted += 1
    size += needed
  }

  /// §4.3; `maximum` is at most `largest`.
  mutating func resize(to maximum: Int) {
    self.maximum = maximum
    evict(downTo: maximum)
  }

  private mutating func evict(downTo limit: Int) {
    while size > limit, count > 0 {
      size -= ring[evicted & (Self.ringSize - 1)].size
      evicted += 1
    }
  }
}
