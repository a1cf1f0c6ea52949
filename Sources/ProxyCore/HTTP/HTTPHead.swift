/// The head of a request or response, or a trailer section, in one arena: no string and no allocation per field. Used
/// again for the connection's next message.
///
/// For HTTP/1.1 names keep their case and order; for HTTP/2 they are lower case. The pseudo-header fields of HTTP/2 and
/// the start line of HTTP/1.1 both end in `method`, `scheme`, `authority`, `path` and `status`.
public struct HTTPHead: Sendable {
  /// A piece of the arena.
  public struct Slice: Sendable, Hashable {
    public var start: UInt32
    public var count: UInt32

    public init(_ start: Int, _ count: Int) {
      self.start = UInt32(start)
      self.count = UInt32(count)
    }

    public static let empty = Slice(0, 0)
    public var isEmpty: Bool { count == 0 }
    public var range: Range<Int> { Int(start)..<Int(start) + Int(count) }
  }

  public struct Field: Sendable {
    public var name: Slice
    public var value: Slice
    /// Its sender wants it in no HPACK table, on no hop (RFC 7541 §6.2.3).
    public var neverIndexed = false
  }

  public internal(set) var bytes: [UInt8] = []
  public internal(set) var fields: [Field] = []
  public internal(set) var method = Slice.empty
  /// Empty for HTTP/1.1 in origin form.
  public internal(set) var scheme = Slice.empty
  /// The Host field's value, or the target's authority in absolute form, which counts more (RFC 9112 §3.2.2).
  public internal(set) var authority = Slice.empty
  /// With the query, as it was sent.
  public internal(set) var path = Slice.empty
  /// Of a response, else 0.
  public internal(set) var status = 0

  public init() {}

  /// Forgets the message and keeps the storage.
  public mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    fields.removeAll(keepingCapacity: true)
    method = .empty
    scheme = .empty
    authority = .empty
    path = .empty
    status = 0
  }

  // MARK: Reading

  public func text(_ slice: Slice) -> String { String(decoding: bytes[slice.range], as: UTF8.self) }

  public func withBytes<Result>(of slice: Slice, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[slice.range])) }
  }

  public func equals(_ slice: Slice, _ text: StaticString) -> Bool {
    guard Int(slice.count) == text.utf8CodeUnitCount else { return false }
    return withBytes(of: slice) { left in
      left.elementsEqual(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }
  }

  /// Whether a slice is that text, ASCII letters in either case. `lowercase` has to be lower case.
  public func equalsIgnoringCase(_ slice: Slice, _ lowercase: some Collection<UInt8>) -> Bool {
    guard Int(slice.count) == lowercase.count else { return false }
    var index = Int(slice.start)
    for byte in lowercase {
      guard bytes[index].asciiLowercase == byte else { return false }
      index += 1
    }
    return true
  }

  /// The index of the first field of that name from `start` on.
  public func index(of lowercase: StaticString, from start: Int = 0) -> Int? {
    let name = UnsafeBufferPointer(start: lowercase.utf8Start, count: lowercase.utf8CodeUnitCount)
    return index(of: name, from: start)
  }

  /// The same for a name that is known at run time only, in lower case.
  public func index(named lowercase: String) -> Int? { index(of: lowercase.utf8) }

  public func index(of lowercase: some Collection<UInt8>, from start: Int = 0) -> Int? {
    var index = start
    while index < fields.count {
      if equalsIgnoringCase(fields[index].name, lowercase) { return index }
      index += 1
    }
    return nil
  }

  /// The first field's value; nil where there is none.
  public func first(_ lowercase: StaticString) -> Slice? { index(of: lowercase).map { fields[$0].value } }

  // MARK: Writing

  /// Puts bytes into the arena, for a field or a pseudo-header field.
  public mutating func store(_ text: some Sequence<UInt8>) -> Slice {
    let start = bytes.count
    bytes.append(contentsOf: text)
    return Slice(start, bytes.count - start)
  }

  public mutating func append(name: some Sequence<UInt8>, value: some Sequence<UInt8>) {
    let name = store(name)
    fields.append(Field(name: name, value: store(value)))
  }

  public mutating func append(_ name: String, _ value: String) { append(name: name.utf8, value: value.utf8) }

  /// Replaces the first field of that name and removes the others; adds it where there is none.
  public mutating func set(_ name: String, _ value: String) {
    let lowercase = Array(name.utf8.lazy.map(\.asciiLowercase))
    guard let first = index(of: lowercase) else { return append(name, value) }
    fields[first].value = store(value.utf8)
    remove(lowercase, from: first + 1)
  }

  /// Lengthens a field's value; the one before stays in the arena.
  public mutating func extend(field index: Int, with text: some Sequence<UInt8>) {
    let old = fields[index].value.range
    let start = bytes.count
    bytes.append(contentsOf: bytes[old])
    bytes.append(contentsOf: text)
    fields[index].value = Slice(start, bytes.count - start)
  }

  public mutating func remove(_ lowercase: some Collection<UInt8>, from start: Int = 0) {
    var index = start
    while let found = self.index(of: lowercase, from: index) {
      fields.remove(at: found)
      index = found
    }
  }

  public mutating func setMethod(_ text: some Sequence<UInt8>) { method = store(text) }
  public mutating func setScheme(_ text: some Sequence<UInt8>) { scheme = store(text) }
  public mutating func setAuthority(_ text: some Sequence<UInt8>) { authority = store(text) }
  public mutating func setPath(_ text: some Sequence<UInt8>) { path = store(text) }
  public mutating func setStatus(_ status: Int) { self.status = status }

  /// The path without its query.
  public var pathWithoutQuery: Slice {
    guard let mark = bytes[path.range].firstIndex(of: UInt8(ascii: "?")) else { return path }
    return Slice(Int(path.start), mark - Int(path.start))
  }

  /// What stands after the `?`; empty where there is none.
  public var query: Slice {
    guard let mark = bytes[path.range].firstIndex(of: UInt8(ascii: "?")) else { return .empty }
    return Slice(mark + 1, path.range.upperBound - mark - 1)
  }
}

extension UInt8 {
  var asciiLowercase: UInt8 { self &- 65 < 26 ? self | 0x20 : self }
}
