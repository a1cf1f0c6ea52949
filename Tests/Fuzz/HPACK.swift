// Header blocks. What has to hold: any bytes are read within the bounds or refused; a head that was taken is read again
// as the same one after it was written, on connections whose tables have a past.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  // The first byte says what the others are, and which kind of section is meant.
  guard let data, size > 1 else { return 0 }
  var input = Input(bytes: UnsafeBufferPointer(start: data + 1, count: size - 1))
  let kind: MessageKind = [.request, .response, .trailers, .request][Int(data[0] >> 1 & 3)]
  if data[0] & 1 == 0 {
    readBlocks(&input, kind, fields: data[0] & 8 == 0 ? 200 : 4, size: data[0] & 16 == 0 ? 64 << 10 : 256)
  } else {
    writeHeads(&input, kind)
  }
  return 0
}

private struct Input {
  let bytes: UnsafeBufferPointer<UInt8>
  var cursor = 0

  var isEmpty: Bool { cursor == bytes.count }

  /// 0 at the end.
  mutating func byte() -> UInt8 {
    guard !isEmpty else { return 0 }
    defer { cursor += 1 }
    return bytes[cursor]
  }

  /// At most `count` bytes, in storage of their own: what reads beyond is seen.
  mutating func piece(_ count: Int) -> [UInt8] {
    let count = min(count, bytes.count - cursor)
    defer { cursor += count }
    return Array(bytes[cursor..<cursor + count])
  }
}

// MARK: Any blocks

/// One connection's blocks, each after a byte with its length; what they hold is passed on over a second connection.
private func readBlocks(_ input: inout Input, _ kind: MessageKind, fields: Int, size: Int) {
  var decoder = HeaderDecoder()
  var next = Connection()
  var head = HTTPHead()
  while !input.isEmpty {
    let block = input.piece(Int(input.byte()))
    var rules = MessageRules(kind, maximumSize: size, maximumFields: fields)
    head.removeAll()
    do throws(HTTP2Error) {
      try block.withUnsafeBytes { block in
        Result { () throws(HTTP2Error) in try decoder.decode(block, into: &head, rules: &rules) }
      }.get()
    } catch {
      precondition(error.code == .compressionError || error.code == .enhanceYourCalm)
      // What came before the error is still within the bounds.
      precondition(head.fields.count <= fields && head.bytes.count <= size + 2 * 255 * 8 / 5)
      return
    }
    precondition(head.fields.count <= fields && head.bytes.count <= size, "a head over its bounds")
    rules.finish(&head)
    precondition(head.bytes.count <= 2 * size + 2 * fields, "joined cookies over their bounds")
    guard !rules.isMalformed, !rules.isTooLarge else { continue }
    // Whom a request is for stands in `authority` alone.
    let again = next.pass(
      head, kind, rules: MessageRules(kind, maximumSize: size, maximumFields: fields), isValid: true)
    precondition(again.text(again.method) == head.text(head.method) && again.status == head.status)
    precondition(again.text(again.scheme) == head.text(head.scheme) && again.text(again.path) == head.text(head.path))
    precondition(again.text(again.authority) == head.text(head.authority), "for somebody else")
    compare(head.fields.filter { kind != .request || !head.equals($0.name, "host") }, of: head, with: again)
  }
}

// MARK: Any heads

/// Fields of any bytes, some of them repeated, while the peer changes its table's size.
private func writeHeads(_ input: inout Input, _ kind: MessageKind) {
  var connection = Connection()
  var past: [(name: [UInt8], value: [UInt8])] = []
  while !input.isEmpty {
    var head = HTTPHead()
    if kind == .request {
      // Of the start line only what is valid stands where it stood.
      head.setMethod(input.piece(Int(input.byte() & 7)).map { UInt8(ascii: "A") + $0 % 26 })
      head.setPath("/".utf8 + input.piece(Int(input.byte() & 31)).map { UInt8(ascii: "0") + $0 % 64 })
      head.setAuthority("a".utf8)
    } else if kind == .response {
      head.setStatus(100 + Int(input.byte()))
    }
    for _ in 0..<input.byte() & 15 {
      let choice = input.byte()
      switch choice >> 5 {
      case 0 where !past.isEmpty:
        let field = past[Int(choice & 31) % past.count]
        head.append(name: field.name, value: field.value)
      case 1 where !past.isEmpty:
        // The same name with another value, now and then longer than a table.
        let name = past[Int(choice & 31) % past.count].name
        head.append(name: name, value: [UInt8](repeating: input.byte(), count: 40 * Int(input.byte())))
      case 2: connection.encoder.setTableSize(Int(choice & 31) << 8)
      default:
        let name = input.piece(Int(choice & 31)).map(\.asciiLowercase)
        let value = input.piece(Int(input.byte()))
        guard name.withUnsafeBytes({ isPlain($0) }) else { continue }
        past.append((name, value))
        head.append(name: name, value: value)
        if choice >> 5 == 3 { head.fields[head.fields.count - 1].neverIndexed = true }
      }
    }
    let again = connection.pass(
      head, kind, rules: MessageRules(kind, maximumSize: 1 << 20, maximumFields: 1000), isValid: false)
    compare(head.fields, of: head, with: again)
  }
  integers(input.bytes)
}

/// Whether a field of that name is one to the frame layer, and written as it is.
private func isPlain(_ name: UnsafeRawBufferPointer) -> Bool {
  switch FieldKind(known: name) {
  case .regular, .cookie, .contentLength: true
  default: false
  }
}

private func integers(_ bytes: UnsafeBufferPointer<UInt8>) {
  let value = bytes.prefix(3).reduce(0) { $0 << 8 | Int($1) }
  for prefix in 1...8 {
    withUnsafeTemporaryAllocation(byteCount: HPACKInteger.longest, alignment: 1) { target in
      let count = HPACKInteger.write(value, prefix: prefix, pattern: 0, to: target.baseAddress!)
      var cursor = 0
      let written = UnsafeRawBufferPointer(rebasing: target[..<count])
      precondition(HPACKInteger.read(written, at: &cursor, prefix: prefix) == value && cursor == count)
    }
  }
}

// MARK: Both

/// An encoder and the decoder at the other end.
private struct Connection {
  var encoder = HeaderEncoder()
  var decoder = HeaderDecoder()

  /// What arrives of a head. It has to arrive, and a valid one has to be valid there.
  mutating func pass(_ head: HTTPHead, _ kind: MessageKind, rules: MessageRules, isValid: Bool) -> HTTPHead {
    let target = UnsafeMutableRawBufferPointer.allocate(byteCount: encoder.bound(of: head), alignment: 1)
    defer { target.deallocate() }
    let count = encoder.encode(head, as: kind, into: target)
    precondition(count <= target.count, "a block over its bound")
    var rules = rules
    var again = HTTPHead()
    do throws(HTTP2Error) {
      try decoder.decode(UnsafeRawBufferPointer(rebasing: target[..<count]), into: &again, rules: &rules)
    } catch {
      preconditionFailure("what was written is refused: \(error)")
    }
    guard isValid else { return again }
    rules.finish(&again)
    precondition(!rules.isMalformed && !rules.isTooLarge, "what was written is malformed")
    return again
  }
}

private func compare(_ fields: [HTTPHead.Field], of head: HTTPHead, with other: HTTPHead) {
  precondition(fields.count == other.fields.count, "other fields than were written")
  for (old, new) in zip(fields, other.fields) {
    precondition(
      head.bytes[old.name.range] == other.bytes[new.name.range]
        && head.bytes[old.value.range] == other.bytes[new.value.range], "another field than was written")
    precondition(!old.neverIndexed || new.neverIndexed, "a secret may be indexed on the next hop")
  }
}
