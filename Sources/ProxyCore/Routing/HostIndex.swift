/// Hostnames of routes, exact and with a wildcard (`*.example.com` stands for one or more labels), found for a name in
/// one pass over it. ASCII letters in either case.
struct HostIndex: Sendable {
  /// In the order of the places that `find` gives.
  let exactNames: [String]
  let wildcardNames: [String]
  private let exact: ByteTable
  /// Keys start with the dot behind the asterisk; hashed from their last byte to the first.
  private let wildcards: ByteTable
  /// For each wildcard the next shorter one that takes all of its names; -1: none.
  private let shorter: [Int]

  /// - Parameter names: distinct, lower case.
  init(_ names: some Collection<String>) {
    exactNames = names.filter { !$0.hasPrefix("*.") }
    wildcardNames = names.filter { $0.hasPrefix("*.") }
    exact = ByteTable(exactNames.map { Self.key($0.utf8) })
    let suffixes = wildcardNames.map { $0.dropFirst() }
    wildcards = ByteTable(suffixes.map { Self.key($0.utf8) })
    let places = Dictionary(uniqueKeysWithValues: zip(suffixes, suffixes.indices))
    shorter = suffixes.map { suffix in
      var rest = suffix.dropFirst()
      while let dot = rest.firstIndex(of: ".") {
        if let place = places[rest[dot...]] { return place }
        rest = rest[dot...].dropFirst()
      }
      return -1
    }
  }

  private static func key(_ text: some BidirectionalCollection<UInt8>) -> (bytes: [UInt8], hash: UInt64) {
    (Array(text), ByteHash.of(text.reversed()))
  }

  var isEmpty: Bool { exactNames.isEmpty && wildcardNames.isEmpty }

  struct Places {
    /// -1: none.
    var exact = -1
    /// The longest; -1: none.
    var wildcard = -1
  }

  func find(_ host: UnsafeRawBufferPointer) -> Places {
    var places = Places()
    guard host.count <= HostName.maximumLength else { return places }
    // From the right, so that one pass hashes each of the name's suffixes; the last found is the longest.
    var hash = ByteHash.start
    var index = host.count
    while index > 0 {
      index -= 1
      hash = ByteHash.step(hash, host[index].asciiLowercase)
      // The asterisk stands for one character at least.
      if host[index] == UInt8(ascii: "."), index > 0 {
        let suffix = UnsafeRawBufferPointer(rebasing: host[index...])
        places.wildcard = wildcards.find(hash: hash, suffix, foldingCase: true) ?? places.wildcard
      }
    }
    places.exact = exact.find(hash: hash, host, foldingCase: true) ?? -1
    return places
  }

  func shorter(than wildcard: Int) -> Int { shorter[wildcard] }
}

/// The name in an authority (RFC 3986 §3.2).
enum HostName {
  /// Bytes (RFC 1035 §2.3.4).
  static let maximumLength = 253

  /// Without its port and without the root's dot.
  static func range(in bytes: UnsafeRawBufferPointer, _ authority: Range<Int>) -> Range<Int> {
    let range = portless(in: bytes, authority)
    let hasDot = range.count > 1 && bytes[range.upperBound - 1] == UInt8(ascii: ".")
    return hasDot ? range.lowerBound..<range.upperBound - 1 : range
  }

  static func portless(in bytes: UnsafeRawBufferPointer, _ authority: Range<Int>) -> Range<Int> {
    var index = authority.upperBound
    while index > authority.lowerBound {
      index -= 1
      if bytes[index] == UInt8(ascii: ":") { return authority.lowerBound..<index }
      guard bytes[index] &- 48 < 10 else { break }
    }
    return authority
  }
}
