/// Reads header blocks (RFC 7541 §3, §6) into heads. A message that breaks rules or bounds is read to its end
/// nevertheless, for the table's sake; `MessageRules` tells.
struct HeaderDecoder {
  private var table = DynamicTable()
  private let fixed = StaticTable.shared
  private let huffman = HuffmanCode.shared

  /// - Throws: COMPRESSION_ERROR, after which the connection can't go on.
  mutating func decode(
    _ block: UnsafeRawBufferPointer, into head: inout HTTPHead, rules: inout MessageRules
  ) throws(HTTP2Error) {
    var cursor = 0
    var fields = 0
    while cursor < block.count {
      let byte = block[cursor]
      if byte & 0x80 != 0 {
        try indexed(block, at: &cursor, into: &head, rules: &rules)
      } else if byte & 0x40 != 0 {
        try literal(block, at: &cursor, prefix: 6, into: &head, rules: &rules)
      } else if byte & 0x20 != 0 {
        guard fields == 0, let size = HPACKInteger.read(block, at: &cursor, prefix: 5), size <= DynamicTable.largest
        else { throw Self.error("a table size that may not be") }
        table.resize(to: size)
        continue
      } else {
        try literal(block, at: &cursor, prefix: 4, into: &head, rules: &rules)
      }
      fields += 1
      guard !rules.isBomb else {
        throw HTTP2Error(code: .enhanceYourCalm, reason: "a header block that grows without measure")
      }
    }
  }

  private mutating func indexed(
    _ block: UnsafeRawBufferPointer, at cursor: inout Int, into head: inout HTTPHead, rules: inout MessageRules
  ) throws(HTTP2Error) {
    guard let index = HPACKInteger.read(block, at: &cursor, prefix: 7), index > 0 else { throw Self.error("an index") }
    if index <= StaticTable.count {
      let entry = fixed.entries[index]
      let name = UnsafeRawBufferPointer(entry.name)
      let value = UnsafeRawBufferPointer(entry.value)
      guard rules.admits(name.count + value.count) else { return }
      rules.add(entry.kind, name: head.put(name), value: head.put(value), neverIndexed: false, to: &head)
    } else {
      guard let entry = table.entry(age: index - StaticTable.count - 1) else { throw Self.error("an index") }
      guard rules.admits(Int(entry.nameCount) + Int(entry.valueCount)) else { return }
      let both = table.withBytes(of: entry) { head.put($0) }
      let name = HTTPHead.Slice(Int(both.start), Int(entry.nameCount))
      let value = HTTPHead.Slice(Int(both.start) + Int(entry.nameCount), Int(entry.valueCount))
      rules.add(entry.kind, name: name, value: value, neverIndexed: false, to: &head)
    }
  }

  private mutating func literal(
    _ block: UnsafeRawBufferPointer, at cursor: inout Int, prefix: Int, into head: inout HTTPHead,
    rules: inout MessageRules
  ) throws(HTTP2Error) {
    let pattern = block[cursor]
    let mark = head.bytes.count
    guard let index = HPACKInteger.read(block, at: &cursor, prefix: prefix) else { throw Self.error("an index") }
    let name: HTTPHead.Slice
    var kind: FieldKind?
    if index == 0 {
      name = try text(block, at: &cursor, into: &head)
    } else if index <= StaticTable.count {
      name = head.put(UnsafeRawBufferPointer(fixed.entries[index].name))
      kind = fixed.entries[index].kind
    } else {
      guard let entry = table.entry(age: index - StaticTable.count - 1) else { throw Self.error("an index") }
      name = table.withBytes(of: entry) { head.put(UnsafeRawBufferPointer(rebasing: $0[..<Int(entry.nameCount)])) }
      // Malformed may have been its value only.
      kind = entry.kind == .malformed ? nil : entry.kind
    }
    let value = try text(block, at: &cursor, into: &head)
    let found = head.bytes.withUnsafeBytes { bytes in
      let nameBytes = UnsafeRawBufferPointer(rebasing: bytes[name.range])
      let valueBytes = UnsafeRawBufferPointer(rebasing: bytes[value.range])
      let found = FieldBytes.isValue(valueBytes) ? kind ?? FieldKind(name: nameBytes) : .malformed
      if prefix == 6 { table.insert(name: nameBytes, value: valueBytes, kind: found) }
      return found
    }
    guard rules.admits(Int(name.count + value.count)) else {
      head.bytes.removeLast(head.bytes.count - mark)
      return
    }
    rules.add(found, name: name, value: value, neverIndexed: prefix == 4 && pattern & 0x10 != 0, to: &head)
  }

  /// A string literal (§5.2).
  private func text(
    _ block: UnsafeRawBufferPointer, at cursor: inout Int, into head: inout HTTPHead
  ) throws(HTTP2Error) -> HTTPHead.Slice {
    let isHuffman = cursor < block.count && block[cursor] & 0x80 != 0
    guard let count = HPACKInteger.read(block, at: &cursor, prefix: 7), count <= block.count - cursor else {
      throw Self.error("a string longer than its block")
    }
    let raw = UnsafeRawBufferPointer(rebasing: block[cursor..<cursor + count])
    cursor += count
    guard isHuffman else { return head.put(raw) }
    let start = head.bytes.count
    let isWhole = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: HuffmanCode.longestText(of: count) + 1) {
      guard let written = huffman.decode(raw, into: $0.baseAddress!) else { return false }
      head.bytes.append(contentsOf: UnsafeBufferPointer(rebasing: $0[..<written]))
      return true
    }
    guard isWhole else { throw Self.error("a string that is not of the Huffman code") }
    return HTTPHead.Slice(start, head.bytes.count - start)
  }

  private static func error(_ reason: String) -> HTTP2Error {
    HTTP2Error(code: .compressionError, reason: "a header block with \(reason)")
  }
}

extension HTTPHead {
  @inline(__always)
  mutating func put(_ text: UnsafeRawBufferPointer) -> Slice {
    let start = bytes.count
    bytes.append(contentsOf: text)
    return Slice(start, text.count)
  }
}
