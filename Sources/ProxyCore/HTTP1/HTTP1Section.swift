/// A start line with its fields, or a trailer section: lines up to an empty one. Parsed where they lie in the input; only
/// what a read cuts is parsed in the head's arena.
struct HTTP1Section {
  enum Kind { case request, response, trailers }

  let kind: Kind
  private let limits: HTTP1Limits
  private(set) var facts = HTTP1Facts()
  private var lineStart = 0
  private var emptyLines = 0
  private var needsStartLine: Bool

  init(_ kind: Kind, limits: HTTP1Limits) {
    self.kind = kind
    self.limits = limits
    needsStartLine = kind != .trailers
  }

  /// Gets ready for the next message.
  mutating func reset() {
    facts = HTTP1Facts()
    lineStart = 0
    emptyLines = 0
    needsStartLine = kind != .trailers
  }

  /// Takes bytes up to the section's end; false: all were used and it isn't complete.
  mutating func read(from bytes: inout UnsafeRawBufferPointer, into head: inout HTTPHead) throws(HTTP1Error) -> Bool {
    while bytes.count > 0 {
      let isComplete =
        head.bytes.isEmpty ? try readInPlace(from: &bytes, into: &head) : try readCopied(from: &bytes, into: &head)
      if isComplete { return true }
    }
    return false
  }

  /// The section begins with the input: one copy at the end.
  private mutating func readInPlace(
    from bytes: inout UnsafeRawBufferPointer, into head: inout HTTPHead
  ) throws(HTTP1Error) -> Bool {
    guard let base = bytes.baseAddress else { return false }
    var isComplete = false
    var end = 0
    while !isComplete {
      let feed = HTTPSyntax.firstLineFeed(base, end, bytes.count)
      guard feed < bytes.count else { break }
      end = feed + 1
      try check(end, isWhole: true)
      isComplete = try line(base, feed, &head)
      guard lineStart == end else {
        // An empty line before the request line: what follows begins anew.
        bytes = UnsafeRawBufferPointer(rebasing: bytes[end...])
        return false
      }
    }
    if !isComplete {
      end = bytes.count
      try check(end, isWhole: false)
    }
    head.bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[..<end]))
    bytes = UnsafeRawBufferPointer(rebasing: bytes[end...])
    return isComplete
  }

  /// One line, or what there is of it, goes into the arena.
  private mutating func readCopied(
    from bytes: inout UnsafeRawBufferPointer, into head: inout HTTPHead
  ) throws(HTTP1Error) -> Bool {
    guard let base = bytes.baseAddress else { return false }
    let feed = HTTPSyntax.firstLineFeed(base, 0, bytes.count)
    let count = min(feed + 1, bytes.count)
    try check(head.bytes.count + count, isWhole: feed < bytes.count)
    head.bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
    let isWhole = feed < bytes.count
    bytes = UnsafeRawBufferPointer(rebasing: bytes[count...])
    guard isWhole else { return false }
    let end = head.bytes.count
    let arena = head.bytes
    let isComplete = try parse(arena, end - 1, &head)
    if lineStart != end { head.bytes.removeAll(keepingCapacity: true) }
    return isComplete
  }

  private mutating func parse(_ arena: [UInt8], _ feed: Int, _ head: inout HTTPHead) throws(HTTP1Error) -> Bool {
    // The arena isn't changed by `line`: it is borrowed from another reference, and so never copied.
    let result = arena.withUnsafeBytes { bytes -> Result<Bool, HTTP1Error> in
      guard let base = bytes.baseAddress else { return .success(false) }
      do throws(HTTP1Error) {
        return .success(try line(base, feed, &head))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// Refuses a section that ends at `end` or later if that is too far. Its last line may lack its end.
  private func check(_ end: Int, isWhole: Bool) throws(HTTP1Error) {
    let lineLength = end - lineStart - (isWhole ? 2 : 1)
    if needsStartLine, lineLength > limits.maximumStartLine { throw fail(414, "the start line is too long") }
    guard end <= (kind == .trailers ? limits.maximumTrailers : limits.maximumHead) else {
      throw fail(431, kind == .trailers ? "the trailer section is too long" : "the head is too long")
    }
  }

  /// One line, from `lineStart` to the LF at `feed`; true if it ends the section. An empty line before a request line
  /// leaves `lineStart` at 0.
  private mutating func line(
    _ base: UnsafeRawPointer, _ feed: Int, _ head: inout HTTPHead
  ) throws(HTTP1Error) -> Bool {
    let end = feed - 1
    guard end >= lineStart, base.load(fromByteOffset: end, as: UInt8.self) == 13 else {
      throw fail(400, "a line ends with LF alone")
    }
    if end == lineStart {
      if needsStartLine {
        emptyLines += 1
        guard kind == .request, emptyLines <= HTTP1Limits.maximumEmptyLines else {
          throw fail(400, "an empty line instead of a start line")
        }
        return false
      }
      lineStart = feed + 1
      return true
    }
    if needsStartLine {
      let line = HTTP1Line(base: base, start: lineStart, end: end)
      if kind == .request {
        try facts.takeRequestLine(line, &head)
      } else {
        try facts.takeStatusLine(line, &head)
      }
      needsStartLine = false
    } else {
      try field(HTTP1Line(base: base, start: lineStart, end: end), &head)
    }
    lineStart = feed + 1
    return false
  }

  /// field-line = field-name ":" OWS field-value OWS (RFC 9112 §5).
  private mutating func field(_ line: HTTP1Line, _ head: inout HTTPHead) throws(HTTP1Error) {
    var colon = line.start
    while colon < line.end, HTTPSyntax.isTokenByte(line[colon]) { colon += 1 }
    guard colon > line.start, colon < line.end, line[colon] == UInt8(ascii: ":") else {
      let isFolded = line[line.start] == 32 || line[line.start] == 9
      throw fail(400, isFolded ? "a folded field line" : "a field's name is not a token followed by a colon")
    }
    var start = colon + 1
    var end = line.end
    while start < end, line[start] == 32 || line[start] == 9 { start += 1 }
    while start < end, line[end - 1] == 32 || line[end - 1] == 9 { end -= 1 }
    guard HTTPSyntax.firstControl(line.base, start, end) == end else {
      throw fail(400, "a control character in a field's value")
    }
    guard facts.fieldCount < limits.maximumFields else { throw fail(431, "too many fields") }
    facts.fieldCount += 1
    let name = HTTP1Line(base: line.base, start: line.start, end: colon)
    let value = HTTP1Line(base: line.base, start: start, end: end)
    if kind == .trailers {
      switch HTTP1FieldName.inTrailers(name) {
      case .allowed: break
      case .dropped: return
      case .refused: throw fail(400, "a trailer field that frames or routes a message")
      }
    } else {
      try facts.takeField(name, value, isResponse: kind == .response)
    }
    head.fields.append(HTTPHead.Field(name: name.slice, value: value.slice))
  }

  private func fail(_ status: Int, _ reason: String) -> HTTP1Error { HTTP1Error(status: status, reason: reason) }
}

/// A piece of a line where it lies: offsets count from the section's first byte, as in the head's arena.
struct HTTP1Line {
  let base: UnsafeRawPointer
  let start: Int
  let end: Int

  var count: Int { end - start }
  var slice: HTTPHead.Slice { HTTPHead.Slice(start, count) }
  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base + start, count: count) }

  subscript(_ index: Int) -> UInt8 {
    @inline(__always) get { base.load(fromByteOffset: index, as: UInt8.self) }
  }

  /// Whether this is that text, ASCII letters in either case. `lowercase` has to be lower case.
  func equals(_ lowercase: StaticString) -> Bool {
    guard count == lowercase.utf8CodeUnitCount else { return false }
    let text = lowercase.utf8Start
    for index in 0..<count where self[start + index].asciiLowercase != text[index] { return false }
    return true
  }

  /// The elements of a comma-separated list, without the whitespace around them; empty ones are passed too.
  func forEachElement<Failure>(_ body: (HTTP1Line) throws(Failure) -> Void) throws(Failure) {
    var first = start
    while first <= end {
      var comma = first
      while comma < end, self[comma] != UInt8(ascii: ",") { comma += 1 }
      var last = comma
      while first < last, self[first] == 32 || self[first] == 9 { first += 1 }
      while first < last, self[last - 1] == 32 || self[last - 1] == 9 { last -= 1 }
      try body(HTTP1Line(base: base, start: first, end: last))
      first = comma + 1
    }
  }
}
