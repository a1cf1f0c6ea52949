/// The static table (RFC 7541 appendix A).
struct StaticTable: Sendable {
  static let count = 61
  static let shared = StaticTable()

  struct Entry: Sendable {
    var name: StaticString
    var value: StaticString
    var kind: FieldKind
    var nameHash: UInt64
    /// Never put into a table (§7.1.3): what an attacker could otherwise guess by the size of a message.
    var isSecret: Bool
  }

  /// By index; index 0 is none.
  let entries: [Entry]
  /// The first index of a name, by its hash; 0: a free slot.
  private let slots: [UInt8]

  private init() {
    var entries = [Entry(name: "", value: "", kind: .malformed, nameHash: 0, isSecret: false)]
    var slots = [UInt8](repeating: 0, count: 256)
    for (name, value) in Self.fields {
      let bytes = UnsafeRawBufferPointer(name)
      let hash = FieldHash.of(bytes)
      let isNew = !UnsafeRawBufferPointer(entries.last!.name).elementsEqual(bytes)
      var slot = Int(truncatingIfNeeded: hash) & 255
      while isNew, slots[slot] != 0 { slot = (slot + 1) & 255 }
      if isNew { slots[slot] = UInt8(entries.count) }
      let isSecret = ["authorization", "proxy-authorization", "cookie", "set-cookie"].contains(name.description)
      entries.append(
        Entry(name: name, value: value, kind: FieldKind(name: bytes), nameHash: hash, isSecret: isSecret))
    }
    self.entries = entries
    self.slots = slots
  }

  /// The first entry of that name; 0: there is none.
  func index(of name: UnsafeRawBufferPointer, hash: UInt64) -> Int {
    var slot = Int(truncatingIfNeeded: hash) & 255
    while slots[slot] != 0 {
      let index = Int(slots[slot])
      if entries[index].nameHash == hash, name.equals(entries[index].name) { return index }
      slot = (slot + 1) & 255
    }
    return 0
  }

  private static let fields: [(StaticString, StaticString)] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
  ]
}

/// A hash of a name or value, for finding only: equal bytes are compared. Not secret, so that a peer can make fields
/// collide: it costs that peer's own compression and nothing else.
enum FieldHash {
  @inline(__always)
  static func of(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0x9e37_79b9_7f4a_7c15) -> UInt64 {
    var hash = seed ^ UInt64(truncatingIfNeeded: bytes.count)
    var offset = 0
    while offset + 8 <= bytes.count {
      hash = mix(hash ^ bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
      offset += 8
    }
    guard offset < bytes.count else { return hash }
    var rest: UInt64 = 0
    while offset < bytes.count {
      rest = rest << 8 | UInt64(bytes[offset])
      offset += 1
    }
    return mix(hash ^ rest)
  }

  @inline(__always)
  private static func mix(_ value: UInt64) -> UInt64 {
    let product = value &* 0xff51_afd7_ed55_8ccd
    return product ^ product >> 32
  }
}
