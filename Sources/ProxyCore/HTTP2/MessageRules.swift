/// Reads what HTTP/2 asks of a message's fields (RFC 9113 §8.2, §8.3), field by field as they are decoded.
struct MessageRules {
  let kind: MessageKind
  /// Of the whole section: names and values with 32 bytes for each field (RFC 7541 §4.1).
  let maximumSize: Int
  let maximumFields: Int
  private(set) var isMalformed = false
  private(set) var isTooLarge = false
  private(set) var contentLength: Int?
  private var size = 0
  private var fields = 0
  private var seen: UInt16 = 0
  private var host = HTTPHead.Slice.empty
  private var cookies = 0

  init(_ kind: MessageKind, maximumSize: Int, maximumFields: Int) {
    self.kind = kind
    self.maximumSize = maximumSize
    self.maximumFields = maximumFields
  }

  /// Whether a block goes on so far beyond its bounds that reading on only serves an attack.
  var isBomb: Bool { size > 16 * maximumSize }

  /// Counts a field; false: it is not stored any more.
  mutating func admits(_ count: Int) -> Bool {
    size += count + DynamicTable.overhead
    fields += 1
    if size > maximumSize || fields > maximumFields { isTooLarge = true }
    return !isTooLarge
  }

  mutating func add(
    _ field: FieldKind, name: HTTPHead.Slice, value: HTTPHead.Slice, neverIndexed: Bool, to head: inout HTTPHead
  ) {
    switch field {
    case .regular: break
    case .method:
      pseudo(field, of: .request)
      head.method = value
      return
    case .scheme:
      pseudo(field, of: .request)
      head.scheme = value
      return
    case .authority:
      pseudo(field, of: .request)
      head.authority = value
      return
    case .path:
      pseudo(field, of: .request)
      head.path = value
      return
    case .status:
      pseudo(field, of: .response)
      head.status = head.withBytes(of: value) { Self.number($0, digits: 3...3) } ?? 0
      return
    case .host:
      once(field)
      host = value
    case .contentLength:
      once(field)
      contentLength = head.withBytes(of: value) { Self.number($0, digits: 1...18) }
      if contentLength == nil { isMalformed = true }
    case .cookie: cookies += 1
    case .te: if !head.withBytes(of: value, { $0.equalsIgnoringCase("trailers") }) { isMalformed = true }
    case .connectionSpecific, .malformed: isMalformed = true
    }
    seen |= 1
    head.fields.append(HTTPHead.Field(name: name, value: value, neverIndexed: neverIndexed))
  }

  /// The rules that concern all of a section; afterwards `isMalformed` is final.
  mutating func finish(_ head: inout HTTPHead) {
    guard !isTooLarge, !isMalformed else { return }
    switch kind {
    case .request: if !isRequest(&head) { isMalformed = true }
    case .response: if head.status < 100 { isMalformed = true }
    case .trailers: break
    }
    if cookies > 1 { joinCookies(&head) }
  }

  private func isRequest(_ head: inout HTTPHead) -> Bool {
    guard has(.method), head.withBytes(of: head.method, HTTPSyntax.isToken) else {
      return false
    }
    if !host.isEmpty {
      if head.authority.isEmpty {
        head.authority = host
      } else if head.bytes[host.range] != head.bytes[head.authority.range] {
        // Whom the request is for must not depend on who reads it.
        return false
      }
    }
    guard !head.authority.isEmpty, head.withBytes(of: head.authority, FieldBytes.isAuthority) else { return false }
    if head.equals(head.method, "CONNECT") { return !has(.scheme) && !has(.path) && has(.authority) }
    return has(.scheme) && head.withBytes(of: head.scheme, FieldBytes.isScheme)
      && head.withBytes(of: head.path) { path in
        guard path.first == UInt8(ascii: "/") else { return path.equals("*") && head.equals(head.method, "OPTIONS") }
        return FieldBytes.isTarget(path)
      }
  }

  /// Cookies come as one field again (RFC 9113 §8.2.3), in the first one's place. Empty ones leave nothing: a value that
  /// ends in a space is malformed on the next hop.
  private func joinCookies(_ head: inout HTTPHead) {
    guard let first = head.index(of: "cookie") else { return }
    let start = head.bytes.count
    var write = first
    for read in first..<head.fields.count {
      let field = head.fields[read]
      if head.equals(field.name, "cookie") {
        if head.bytes.count > start, !field.value.isEmpty { head.bytes.append(contentsOf: "; ".utf8) }
        // The arena itself grows here: a slice of it keeps the old storage alive.
        head.bytes.append(contentsOf: head.bytes[field.value.range])
        guard read == first else { continue }
      }
      head.fields[write] = field
      write += 1
    }
    head.fields.removeLast(head.fields.count - write)
    head.fields[first].value = HTTPHead.Slice(start, head.bytes.count - start)
  }

  private mutating func pseudo(_ field: FieldKind, of kind: MessageKind) {
    // Before all others (RFC 9113 §8.3), and none in trailers.
    if self.kind != kind || seen & 1 == 1 { isMalformed = true }
    once(field)
  }

  private mutating func once(_ field: FieldKind) {
    if has(field) { isMalformed = true }
    seen |= 1 << UInt16(field.rawValue)
  }

  private func has(_ field: FieldKind) -> Bool { seen >> UInt16(field.rawValue) & 1 == 1 }

  private static func number(_ text: UnsafeRawBufferPointer, digits: ClosedRange<Int>) -> Int? {
    guard digits.contains(text.count) else { return nil }
    var value = 0
    for byte in text {
      guard byte &- UInt8(ascii: "0") < 10 else { return nil }
      value = value * 10 + Int(byte - UInt8(ascii: "0"))
    }
    return value
  }
}
