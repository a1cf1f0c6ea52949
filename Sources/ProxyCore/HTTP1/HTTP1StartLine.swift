/// Request lines and status lines (RFC 9112 §3, §4): exactly one space between their parts.
extension HTTP1Facts {
  mutating func takeRequestLine(_ line: HTTP1Line, _ head: inout HTTPHead) throws(HTTP1Error) {
    var methodEnd = line.start
    while methodEnd < line.end, HTTPSyntax.isTokenByte(line[methodEnd]) { methodEnd += 1 }
    guard methodEnd > line.start, methodEnd < line.end, line[methodEnd] == 32 else {
      throw HTTP1Error(status: 400, reason: "the method is not a token followed by a space")
    }
    var version = line.end
    while version > methodEnd + 1, line[version - 1] != 32 { version -= 1 }
    guard version > methodEnd + 2 else { throw HTTP1Error(status: 400, reason: "an incomplete request line") }
    minorVersion = try Self.minorVersion(HTTP1Line(base: line.base, start: version, end: line.end))
    let target = HTTP1Line(base: line.base, start: methodEnd + 1, end: version - 1)
    guard HTTPSyntax.isTarget(target.bytes) else { throw HTTP1Error(status: 400, reason: "an invalid target") }
    let method = HTTP1Line(base: line.base, start: line.start, end: methodEnd)
    head.method = method.slice
    isConnect = method.isExactly("CONNECT")
    if isConnect {
      guard HTTPSyntax.isAuthority(target.bytes, needsPort: true) else {
        throw HTTP1Error(status: 400, reason: "CONNECT to something else than a host and a port")
      }
      head.authority = target.slice
    } else if target[target.start] == UInt8(ascii: "/") {
      head.path = target.slice
    } else if target.isExactly("*") {
      guard method.isExactly("OPTIONS") else { throw HTTP1Error(status: 400, reason: "* is a target of OPTIONS only") }
      head.path = target.slice
    } else {
      try takeAbsoluteForm(target, isOptions: method.isExactly("OPTIONS"), &head)
    }
  }

  /// Takes an absolute-form target apart; its authority counts, whatever Host says (RFC 9112 §3.2.2).
  private mutating func takeAbsoluteForm(
    _ target: HTTP1Line, isOptions: Bool, _ head: inout HTTPHead
  ) throws(HTTP1Error) {
    var colon = target.start
    while colon < target.end, target[colon] != UInt8(ascii: ":") { colon += 1 }
    let scheme = HTTP1Line(base: target.base, start: target.start, end: colon)
    let start = colon + 3
    guard scheme.equals("http") || scheme.equals("https"), start < target.end,
      target[colon + 1] == UInt8(ascii: "/"), target[colon + 2] == UInt8(ascii: "/")
    else { throw HTTP1Error(status: 400, reason: "an invalid target") }
    var end = start
    while end < target.end, target[end] != UInt8(ascii: "/"), target[end] != UInt8(ascii: "?") { end += 1 }
    let authority = HTTP1Line(base: target.base, start: start, end: end)
    guard HTTPSyntax.isAuthority(authority.bytes) else { throw HTTP1Error(status: 400, reason: "an invalid target") }
    head.scheme = scheme.slice
    head.authority = authority.slice
    if end == target.end {
      // OPTIONS about the server as a whole (RFC 9112 §3.2.4) gets its asterisk when the arena is there.
      needsAsterisk = isOptions
      head.path = HTTPHead.Slice(start - 1, 1)
    } else {
      needsSlash = target[end] == UInt8(ascii: "?")
      head.path = HTTPHead.Slice(end, target.end - end)
    }
  }

  /// The arena is complete: a path that doesn't stand in it as it has to is put there.
  func completePath(_ head: inout HTTPHead) {
    if needsAsterisk {
      head.path = head.store(CollectionOfOne(UInt8(ascii: "*")))
    } else if needsSlash {
      let query = head.bytes[head.path.range]
      let start = head.bytes.count
      head.bytes.append(UInt8(ascii: "/"))
      head.bytes.append(contentsOf: query)
      head.path = HTTPHead.Slice(start, query.count + 1)
    }
  }

  mutating func takeStatusLine(_ line: HTTP1Line, _ head: inout HTTPHead) throws(HTTP1Error) {
    guard line.count >= 12 else { throw HTTP1Error(status: 502, reason: "an incomplete status line") }
    minorVersion = try Self.minorVersion(HTTP1Line(base: line.base, start: line.start, end: line.start + 8))
    var status = 0
    for index in (line.start + 9)..<(line.start + 12) {
      let digit = line[index] &- 48
      guard digit < 10 else { throw HTTP1Error(status: 502, reason: "an invalid status") }
      status = status * 10 + Int(digit)
    }
    // Servers without a reason often leave out the space before it: nothing is misread by that.
    guard status >= 100, line[line.start + 8] == 32, line.count == 12 || line[line.start + 12] == 32,
      HTTPSyntax.firstControl(line.base, line.start + 12, line.end) == line.end
    else { throw HTTP1Error(status: 502, reason: "an invalid status line") }
    head.status = status
  }

  /// HTTP/1.0 or HTTP/1.1, in upper case (RFC 9112 §2.3).
  private static func minorVersion(_ text: HTTP1Line) throws(HTTP1Error) -> Int {
    if text.isExactly("HTTP/1.1") { return 1 }
    if text.isExactly("HTTP/1.0") { return 0 }
    let prefix = HTTP1Line(base: text.base, start: text.start, end: min(text.start + 5, text.end))
    let isNumber = text.count == 6 || (text.count == 8 && text[text.start + 6] == UInt8(ascii: "."))
    guard prefix.isExactly("HTTP/"), isNumber, text[text.start + 5] &- 48 < 10, text[text.end - 1] &- 48 < 10 else {
      throw HTTP1Error(status: 400, reason: "an invalid version")
    }
    throw HTTP1Error(status: 505, reason: "a version other than HTTP/1.0 and HTTP/1.1")
  }
}

extension HTTP1Line {
  /// Whether this is that text, in that case.
  func isExactly(_ text: StaticString) -> Bool {
    count == text.utf8CodeUnitCount
      && bytes.elementsEqual(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }
}
