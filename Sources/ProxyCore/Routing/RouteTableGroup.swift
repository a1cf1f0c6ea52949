import MeshModel

/// Routes that hold together for a client, by their hostnames.
public final class RouteGroup: Sendable {
  private struct Wildcard: Sendable {
    var paths: RouteTablePaths
    /// The next shorter wildcard that takes all of this one's names; -1: none.
    var shorter: Int
  }

  private let exactNames: ByteTable
  private let exact: [RouteTablePaths]
  /// Keys start with the dot behind the asterisk; hashed from their last byte to the first.
  private let wildcardNames: ByteTable
  private let wildcards: [Wildcard]
  private let any: RouteTablePaths?

  init(_ routes: [Route], problems: inout [String]) {
    var byName: [String: [RouteMatchEntry]] = [:]
    for route in routes {
      let entries = RouteMatchEntry.all(of: route, problems: &problems)
      for name in Set(route.hostnames.isEmpty ? [""] : route.hostnames.map { $0.lowercased() }) {
        byName[name, default: []] += entries
      }
    }
    any = byName.removeValue(forKey: "").map(RouteTablePaths.init)
    let names = byName.keys.sorted()
    let precise = names.filter { !$0.hasPrefix("*.") }
    exactNames = ByteTable(precise.map { Self.key($0.utf8) })
    exact = precise.map { RouteTablePaths(byName[$0] ?? []) }
    let suffixes = names.filter { $0.hasPrefix("*.") }.map { $0.dropFirst() }
    wildcardNames = ByteTable(suffixes.map { Self.key($0.utf8) })
    let places = Dictionary(uniqueKeysWithValues: zip(suffixes, suffixes.indices))
    wildcards = suffixes.map { suffix in
      var rest = suffix.dropFirst()
      var shorter: Int?
      while shorter == nil, let dot = rest.firstIndex(of: ".") {
        shorter = places[rest[dot...]]
        rest = rest[dot...].dropFirst()
      }
      return Wildcard(paths: RouteTablePaths(byName["*\(suffix)"] ?? []), shorter: shorter ?? -1)
    }
  }

  private static func key(_ text: some BidirectionalCollection<UInt8>) -> (bytes: [UInt8], hash: UInt64) {
    (Array(text), ByteHash.of(text.reversed()))
  }

  public func match(_ head: HTTPHead) -> RouteTable.Found? {
    head.bytes.withUnsafeBytes { bytes in
      guard !exact.isEmpty || !wildcards.isEmpty else { return any?.match(head, bytes) }
      let name = HostName.range(in: bytes, head.authority.range)
      let host = UnsafeRawBufferPointer(rebasing: bytes[name])
      // From the right, so that one pass hashes each of the name's suffixes; the last found is the longest.
      var hash = ByteHash.start
      var wildcard = -1
      if name.count <= HostName.maximumLength {
        var index = host.count
        while index > 0 {
          index -= 1
          hash = ByteHash.step(hash, host[index].asciiLowercase)
          // The asterisk stands for one character at least.
          if host[index] == UInt8(ascii: "."), index > 0 {
            let suffix = UnsafeRawBufferPointer(rebasing: host[index...])
            wildcard = wildcardNames.find(hash: hash, suffix, foldingCase: true) ?? wildcard
          }
        }
        if let place = exactNames.find(hash: hash, host, foldingCase: true),
          let found = exact[place].match(head, bytes)
        {
          return found
        }
        while wildcard >= 0 {
          if let found = wildcards[wildcard].paths.match(head, bytes) { return found }
          wildcard = wildcards[wildcard].shorter
        }
      }
      return any?.match(head, bytes)
    }
  }
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
