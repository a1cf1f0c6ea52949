/// Writes heads as header blocks (RFC 7541 §6), without the Huffman code: to save a quarter of a literal's bytes costs
/// both ends more time than the bytes do within a cluster.
///
/// A field enters the dynamic table when it comes for the second time, so that what is different each time (ids, dates,
/// lengths) takes no place there. Secrets never do.
struct HeaderEncoder {
  private static let slotMask = 511

  private var table = DynamicTable()
  private let fixed = StaticTable.shared
  /// By hash of name and value, and of the name: the number of the last entry, plus 1. An entry that another one hides
  /// here is only not found.
  private var slots = [UInt32](repeating: 0, count: slotMask + 1)
  private var nameSlots = [UInt32](repeating: 0, count: slotMask + 1)
  /// The hashes that came last.
  private var seen = [UInt32](repeating: 0, count: slotMask + 1)
  /// The smallest size, and the last one, that the peer set since the last block (RFC 7541 §4.2).
  private var pendingSizes: (smallest: Int, last: Int)?
  private var scratch: [UInt8] = []

  /// The peer's SETTINGS_HEADER_TABLE_SIZE.
  mutating func setTableSize(_ size: Int) {
    let size = min(size, DynamicTable.largest)
    guard size != (pendingSizes?.last ?? table.maximum) else { return }
    pendingSizes = (min(size, pendingSizes?.smallest ?? table.maximum), size)
  }

  /// More than `head` can take.
  func bound(of head: HTTPHead) -> Int {
    // Names and values lie in `bytes` all, but for what one slice may share with another.
    var count = 64 + Int(head.method.count + head.scheme.count + head.authority.count + head.path.count)
    for field in head.fields { count += Int(field.name.count + field.value.count) + 3 * HPACKInteger.longest }
    return count
  }

  /// The block of a head; returns its size. `target` holds `bound(of:)`.
  mutating func encode(
    _ head: HTTPHead, as kind: MessageKind, into target: UnsafeMutableRawBufferPointer
  ) -> Int {
    var out = Output(base: target.baseAddress!)
    if let sizes = pendingSizes {
      pendingSizes = nil
      if sizes.smallest < sizes.last { out.integer(sizes.smallest, prefix: 5, pattern: 0x20) }
      out.integer(sizes.last, prefix: 5, pattern: 0x20)
      table.resize(to: sizes.smallest)
      table.resize(to: sizes.last)
    }
    head.bytes.withUnsafeBytes { bytes in
      func piece(_ slice: HTTPHead.Slice) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[slice.range])
      }
      switch kind {
      case .request: request(head, piece, into: &out)
      case .response: status(head.status, into: &out)
      case .trailers: break
      }
      for entry in head.fields {
        field(piece(entry.name), piece(entry.value), of: kind, neverIndexed: entry.neverIndexed, into: &out)
      }
    }
    return out.count
  }

  private mutating func request(
    _ head: HTTPHead, _ piece: (HTTPHead.Slice) -> UnsafeRawBufferPointer, into out: inout Output
  ) {
    let method = piece(head.method)
    if method.equals("GET") {
      out.byte(0x82)
    } else if method.equals("POST") {
      out.byte(0x83)
    } else {
      literal(2, method, into: &out)
    }
    if !method.equals("CONNECT") {
      let scheme = piece(head.scheme)
      if scheme.isEmpty || scheme.equals("http") {
        out.byte(0x86)
      } else if scheme.equals("https") {
        out.byte(0x87)
      } else {
        literal(6, scheme, into: &out)
      }
      let path = piece(head.path)
      if path.isEmpty || path.equals("/") { out.byte(0x84) } else { literal(4, path, into: &out) }
    }
    let authority = head.authority.isEmpty ? head.first("host") ?? .empty : head.authority
    if !authority.isEmpty { literal(1, piece(authority), into: &out) }
  }

  private mutating func status(_ status: Int, into out: inout Output) {
    switch status {
    case 200: out.byte(0x88)
    case 204: out.byte(0x89)
    case 206: out.byte(0x8a)
    case 304: out.byte(0x8b)
    case 400: out.byte(0x8c)
    case 404: out.byte(0x8d)
    case 500: out.byte(0x8e)
    default:
      withUnsafeTemporaryAllocation(byteCount: 3, alignment: 1) { digits in
        digits[0] = UInt8(48 + status / 100 % 10)
        digits[1] = UInt8(48 + status / 10 % 10)
        digits[2] = UInt8(48 + status % 10)
        literal(8, UnsafeRawBufferPointer(digits), into: &out)
      }
    }
  }

  /// A field as it may be in HTTP/2: its name in lower case, and none that is of an HTTP/1.1 connection only.
  private mutating func field(
    _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, of message: MessageKind, neverIndexed: Bool,
    into out: inout Output
  ) {
    if name.contains(where: { $0 &- UInt8(ascii: "A") < 26 }) {
      var lower = scratch
      scratch = []
      lower.removeAll(keepingCapacity: true)
      lower.append(contentsOf: name.lazy.map(\.asciiLowercase))
      lower.withUnsafeBytes { field($0, value, of: message, neverIndexed: neverIndexed, into: &out) }
      scratch = lower
      return
    }
    let hash = FieldHash.of(name)
    let index = fixed.index(of: name, hash: hash)
    switch index > 0 ? fixed.entries[index].kind : FieldKind(known: name) {
    case .connectionSpecific: return
    case .host where message == .request: return
    case .te where !value.equalsIgnoringCase("trailers"): return
    default: break
    }
    write(
      name, hash: hash, value, staticName: index,
      neverIndexed: neverIndexed || index > 0 && fixed.entries[index].isSecret, into: &out)
  }

  /// A pseudo-header field by the index of its name.
  private mutating func literal(_ index: Int, _ value: UnsafeRawBufferPointer, into out: inout Output) {
    let entry = fixed.entries[index]
    write(
      UnsafeRawBufferPointer(entry.name), hash: entry.nameHash, value, staticName: index, neverIndexed: false,
      into: &out)
  }

  private mutating func write(
    _ name: UnsafeRawBufferPointer, hash nameHash: UInt64, _ value: UnsafeRawBufferPointer, staticName: Int,
    neverIndexed: Bool, into out: inout Output
  ) {
    let hash = FieldHash.of(value, seed: nameHash)
    let slot = Int(truncatingIfNeeded: hash) & Self.slotMask
    if !neverIndexed, let number = find(slots[slot], name, value, hash: hash) {
      return out.integer(index(of: number), prefix: 7, pattern: 0x80)
    }
    let nameSlot = Int(truncatingIfNeeded: nameHash) & Self.slotMask
    let nameIndex = staticName > 0 ? staticName : find(nameSlots[nameSlot], name).map(index(of:)) ?? 0
    let size = name.count + value.count + DynamicTable.overhead
    let mark = UInt32(truncatingIfNeeded: hash >> 32)
    let isKnown = seen[slot] == mark
    seen[slot] = mark
    let enters = !neverIndexed && isKnown && size <= table.maximum / 4
    if enters {
      out.integer(nameIndex, prefix: 6, pattern: 0x40)
      table.insert(name: name, value: value, kind: .regular, hash: hash)
      slots[slot] = UInt32(truncatingIfNeeded: table.inserted)
      nameSlots[nameSlot] = UInt32(truncatingIfNeeded: table.inserted)
    } else {
      out.integer(nameIndex, prefix: 4, pattern: neverIndexed ? 0x10 : 0)
    }
    if nameIndex == 0 { out.text(name) }
    out.text(value)
  }

  private func index(of number: Int) -> Int { StaticTable.count + table.inserted - number }

  /// A slot holds the lower bits of a number: the last one with these bits is meant.
  private func number(in slot: UInt32) -> Int? {
    guard slot != 0 else { return nil }
    let age = UInt32(truncatingIfNeeded: table.inserted) &- slot
    return table.inserted - Int(age) - 1
  }

  private func find(
    _ slot: UInt32, _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, hash: UInt64
  ) -> Int? {
    guard let number = number(in: slot), let entry = table.entry(number: number), entry.hash == hash,
      Int(entry.nameCount) == name.count,
      table.withBytes(
        of: entry,
        {
          UnsafeRawBufferPointer(rebasing: $0[..<name.count]).equals(name)
            && UnsafeRawBufferPointer(rebasing: $0[name.count...]).equals(value)
        })
    else { return nil }
    return number
  }

  private func find(_ slot: UInt32, _ name: UnsafeRawBufferPointer) -> Int? {
    guard let number = number(in: slot), let entry = table.entry(number: number), Int(entry.nameCount) == name.count,
      table.withBytes(of: entry, { UnsafeRawBufferPointer(rebasing: $0[..<name.count]).equals(name) })
    else { return nil }
    return number
  }

  /// Where the block grows.
  private struct Output {
    var base: UnsafeMutableRawPointer
    var count = 0

    mutating func byte(_ byte: UInt8) {
      base.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
      count += 1
    }

    mutating func integer(_ value: Int, prefix: Int, pattern: UInt8) {
      count += HPACKInteger.write(value, prefix: prefix, pattern: pattern, to: base + count)
    }

    mutating func text(_ text: UnsafeRawBufferPointer) {
      integer(text.count, prefix: 7, pattern: 0)
      guard let source = text.baseAddress else { return }
      (base + count).copyMemory(from: source, byteCount: text.count)
      count += text.count
    }
  }
}

/// Which of the three field sections of HTTP/2 a head is.
enum MessageKind { case request, response, trailers }
