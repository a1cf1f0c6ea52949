/// Goes through a head's fields and says what is to become of each when it goes to another connection.
struct HTTP1FieldWriter {
  enum Kind { case endToEnd, host, cookie, upgrade, te, contentLength, transferEncoding, hopByHop }

  private let arena: UnsafeRawBufferPointer
  private let fields: [HTTPHead.Field]
  private var index = 0
  /// Connection names fields besides those that are always dropped.
  private var namesFields = false
  private var didWriteCookies = false
  var didWriteHost = false
  var didWriteFraming = false
  var didWriteTE = false
  var didWriteUpgrade = false

  init(_ arena: UnsafeRawBufferPointer, _ fields: [HTTPHead.Field]) {
    self.arena = arena
    self.fields = fields
    forEachConnectionOption { option in
      let isUsual =
        option.equals("close") || option.equals("keep-alive") || option.equals("upgrade") || option.equals("te")
      if !isUsual { namesFields = true }
    }
  }

  /// The next field that may be written.
  mutating func next() -> (field: HTTPHead.Field, kind: Kind)? {
    while index < fields.count {
      let field = fields[index]
      index += 1
      guard Self.isWellFormed(field, arena) else { continue }
      return (field, kind(field))
    }
    return nil
  }

  static func isWellFormed(_ field: HTTPHead.Field, _ arena: UnsafeRawBufferPointer) -> Bool {
    HTTPSyntax.isToken(UnsafeRawBufferPointer(rebasing: arena[field.name.range]))
      && HTTPSyntax.isFieldValue(UnsafeRawBufferPointer(rebasing: arena[field.value.range]))
  }

  /// Whether a TE field accepts trailers: the only thing that is passed on of it.
  func acceptsTrailers(_ field: HTTPHead.Field) -> Bool {
    var accepts = false
    forEachElement(field.value) { if $0.equals("trailers") { accepts = true } }
    return accepts
  }

  /// All cookies in one field, at the first one's place: HTTP/2 may have split them (RFC 9113 §8.2.3).
  mutating func writeCookies(_ output: inout [UInt8]) {
    guard !didWriteCookies else { return }
    didWriteCookies = true
    var isFirst = true
    for field in fields[(index - 1)...] where line(field.name).equals("cookie") && Self.isWellFormed(field, arena) {
      if isFirst {
        output.append(arena, field.name)
        output.append(": ")
      } else {
        output.append("; ")
      }
      output.append(arena, field.value)
      isFirst = false
    }
    output.append("\r\n")
  }

  private func kind(_ field: HTTPHead.Field) -> Kind {
    let name = line(field.name)
    switch name.count {
    case 2 where name.equals("te"): return .te
    case 4 where name.equals("host"): return .host
    case 7 where name.equals("upgrade"): return .upgrade
    case 10 where name.equals("connection") || name.equals("keep-alive"): return .hopByHop
    case 14 where name.equals("content-length"): return .contentLength
    case 16 where name.equals("proxy-connection"): return .hopByHop
    case 17 where name.equals("transfer-encoding"): return .transferEncoding
    default: break
    }
    if namesFields, isNamedByConnection(name) { return .hopByHop }
    return name.count == 6 && name.equals("cookie") ? .cookie : .endToEnd
  }

  private func isNamedByConnection(_ name: HTTP1Line) -> Bool {
    var isNamed = false
    forEachConnectionOption { option in
      guard !isNamed, option.count == name.count else { return }
      isNamed = zip(option.bytes, name.bytes).allSatisfy { $0.asciiLowercase == $1.asciiLowercase }
    }
    return isNamed
  }

  private func forEachConnectionOption(_ body: (HTTP1Line) -> Void) {
    for field in fields where field.name.count == 10 && line(field.name).equals("connection") {
      forEachElement(field.value, body)
    }
  }

  private func forEachElement(_ value: HTTPHead.Slice, _ body: (HTTP1Line) -> Void) {
    line(value).forEachElement { body($0) }
  }

  private func line(_ slice: HTTPHead.Slice) -> HTTP1Line {
    // A head with fields has an arena; their offsets are checked when they are sliced.
    HTTP1Line(base: arena.baseAddress!, start: slice.range.lowerBound, end: slice.range.upperBound)
  }
}
