/// Many matches of one path, found by the values of the headers that tell them apart, so that a request isn't compared
/// with each of them. Places are those in the list that it was made of, which is in the order of precedence.
struct RouteMatchIndex: Sendable {
  /// Shorter lists are faster without.
  static let minimumCount = 8

  private struct Header: Sendable {
    var name: [UInt8]
    var values: ByteTable
    /// By the value, ascending.
    var places: [[Int]]
  }

  /// Each entry stands under the first header of which it wants an exact value.
  private let headers: [Header]
  /// Those without such a header, ascending.
  private let others: [Int]

  init(_ entries: some Sequence<RouteMatchEntry>) {
    var byName: [[UInt8]: [[UInt8]: [Int]]] = [:]
    var others: [Int] = []
    for (place, entry) in entries.enumerated() {
      if let key = entry.exactHeader {
        byName[key.name, default: [:]][key.value, default: []].append(place)
      } else {
        others.append(place)
      }
    }
    headers = byName.map { name, byValue in
      let values = Array(byValue.keys)
      return Header(
        name: name, values: ByteTable(values.map { ($0, ByteHash.of($0)) }), places: values.map { byValue[$0] ?? [] })
    }
    self.others = others
  }

  /// The first place whose entry takes a request with these fields; nil: none.
  func first(_ head: HTTPHead, _ bytes: UnsafeRawBufferPointer, where takes: (Int) -> Bool) -> Int? {
    var best = others.first(where: takes)
    for header in headers {
      guard let field = head.index(of: header.name) else { continue }
      let found: Int?
      if head.index(of: header.name, from: field + 1) == nil {
        let value = UnsafeRawBufferPointer(rebasing: bytes[head.fields[field].value.range])
        found = header.values.find(hash: ByteHash.of(value), value).flatMap { header.places[$0].first(where: takes) }
      } else {
        // Its values count joined: rare enough to compare each.
        found = header.places.compactMap { $0.first(where: takes) }.min()
      }
      if let found, found < best ?? .max { best = found }
    }
    return best
  }
}
