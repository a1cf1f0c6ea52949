import MeshModel

/// The matches of one hostname, by their paths.
struct RouteTablePaths: Sendable {
  /// Entries of the same path.
  private struct List: Sendable {
    var range: Range<Int>
    /// Into `indexes`; -1: the list is short.
    var index: Int
  }

  private struct Prefix: Sendable {
    var list: List
    var length: Int
  }

  /// Those of a path together, in the order of their precedence.
  private let entries: [RouteMatchEntry]
  private let indexes: [RouteMatchIndex]
  private let exactPaths: ByteTable
  private let exact: [List]
  private let prefixPaths: PathPrefixes
  private let prefixes: [Prefix]
  /// Regular expressions by the whole segments that all of their texts begin with.
  private let expressionPaths: PathPrefixes
  /// Places in `entries`, ascending.
  private let expressions: [[Int]]

  init(_ all: [RouteMatchEntry]) {
    var exactLists: [[UInt8]: [RouteMatchEntry]] = [:]
    var prefixLists: [[UInt8]: [RouteMatchEntry]] = [:]
    var expressionList: [RouteMatchEntry] = []
    for entry in all {
      switch entry.path {
      case .exact(let path): exactLists[path, default: []].append(entry)
      case .prefix(let path): prefixLists[path, default: []].append(entry)
      case .regularExpression: expressionList.append(entry)
      }
    }
    var entries: [RouteMatchEntry] = []
    var indexes: [RouteMatchIndex] = []
    func add(_ list: [RouteMatchEntry]) -> List {
      let sorted = list.sorted { $0.rank < $1.rank }
      entries += sorted
      let isLong = list.count >= RouteMatchIndex.minimumCount
      if isLong { indexes.append(RouteMatchIndex(sorted)) }
      return List(range: entries.count - list.count..<entries.count, index: isLong ? indexes.count - 1 : -1)
    }
    let exactKeys = Array(exactLists.keys)
    exact = exactKeys.map { add(exactLists[$0] ?? []) }
    exactPaths = ByteTable(exactKeys.map { ($0, ByteHash.of($0)) })
    let prefixKeys = Array(prefixLists.keys)
    prefixes = prefixKeys.map { Prefix(list: add(prefixLists[$0] ?? []), length: $0.count) }
    prefixPaths = PathPrefixes(prefixKeys)
    var byPrefix: [[UInt8]: [Int]] = [:]
    for entry in expressionList.sorted(by: { $0.rank < $1.rank }) {
      byPrefix[entry.wholeSegments, default: []].append(entries.count)
      entries.append(entry)
    }
    let expressionKeys = Array(byPrefix.keys)
    expressions = expressionKeys.map { byPrefix[$0] ?? [] }
    expressionPaths = PathPrefixes(expressionKeys)
    self.entries = entries
    self.indexes = indexes
  }

  /// - Parameter bytes: the head's arena.
  func match(_ head: HTTPHead, _ bytes: UnsafeRawBufferPointer) -> RouteTable.Found? {
    let all = UnsafeRawBufferPointer(rebasing: bytes[head.path.range])
    var hash = ByteHash.start
    var prefix = prefixPaths.root
    var expression = expressionPaths.root
    var end = 0
    while end < all.count, all[end] != UInt8(ascii: "?") {
      if all[end] == UInt8(ascii: "/"), end > 0 {
        let path = UnsafeRawBufferPointer(rebasing: all[..<end])
        prefix = prefixPaths.find(hash: hash, path) ?? prefix
        expression = expressionPaths.find(hash: hash, path) ?? expression
      }
      hash = ByteHash.step(hash, all[end])
      end += 1
    }
    let path = UnsafeRawBufferPointer(rebasing: all[..<end])
    let query = UnsafeRawBufferPointer(rebasing: all[min(end + 1, all.count)...])
    if let place = exactPaths.find(hash: hash, path), let entry = first(of: exact[place], head, bytes, path, query) {
      return found(entry, matchedPrefix: end)
    }
    var matching: Int?
    if expression >= 0 { matching = first(expressionsFrom: expression, head, bytes, path, query) }
    if let matching, !entries[matching].isGRPC { return found(matching, matchedPrefix: end) }
    if end > 0 { prefix = prefixPaths.find(hash: hash, path) ?? prefix }
    while prefix >= 0 {
      if let entry = first(of: prefixes[prefix].list, head, bytes, path, query) {
        // A gRPC method alone is an expression, its service alone a prefix, which may go before it.
        if let matching, !(entries[entry].rank < entries[matching].rank) { break }
        return found(entry, matchedPrefix: prefixes[prefix].length)
      }
      prefix = prefixPaths.shorter(than: prefix)
    }
    return matching.map { found($0, matchedPrefix: end) }
  }

  private func found(_ place: Int, matchedPrefix: Int) -> RouteTable.Found {
    RouteTable.Found(rule: entries[place].rule, match: entries[place].index, matchedPrefix: matchedPrefix)
  }

  /// Of a list's entries the first that takes the request, as its place in `entries`.

  private func first(
    of list: List, _ head: HTTPHead, _ bytes: UnsafeRawBufferPointer, _ path: UnsafeRawBufferPointer,
    _ query: UnsafeRawBufferPointer
  ) -> Int? {
    entries.withUnsafeBufferPointer { entries in
      if list.index >= 0 {
        let place = indexes[list.index].first(head, bytes) {
          entries[list.range.lowerBound + $0].takes(head, bytes, path: path, query: query)
        }
        return place.map { list.range.lowerBound + $0 }
      }
      return list.range.first { entries[$0].takes(head, bytes, path: path, query: query) }
    }
  }

  /// Of the expressions under this prefix and the shorter ones the first in the order of precedence.
  private func first(
    expressionsFrom deepest: Int, _ head: HTTPHead, _ bytes: UnsafeRawBufferPointer, _ path: UnsafeRawBufferPointer,
    _ query: UnsafeRawBufferPointer
  ) -> Int? {
    entries.withUnsafeBufferPointer { entries in
      var best = Int.max
      var prefix = deepest
      while prefix >= 0 {
        for place in expressions[prefix] {
          guard place < best else { break }
          if entries[place].takes(head, bytes, path: path, query: query) { best = place }
        }
        prefix = expressionPaths.shorter(than: prefix)
      }
      return best < .max ? best : nil
    }
  }
}

/// Paths without a slash at their end, each with the longest other that is a prefix of it by whole segments.
struct PathPrefixes: Sendable {
  private let table: ByteTable
  private let shorter: [Int]
  /// The empty path, which takes all; -1: none.
  let root: Int

  /// - Parameter paths: distinct.
  init(_ paths: [[UInt8]]) {
    table = ByteTable(paths.map { ($0, ByteHash.of($0)) })
    let places = Dictionary(uniqueKeysWithValues: zip(paths, paths.indices))
    root = places[[]] ?? -1
    shorter = paths.map { path in
      var rest = path[...]
      while let slash = rest.lastIndex(of: UInt8(ascii: "/")) {
        rest = rest[..<slash]
        if let place = places[Array(rest)] { return place }
      }
      return -1
    }
  }

  func find(hash: UInt64, _ path: UnsafeRawBufferPointer) -> Int? { table.find(hash: hash, path) }

  /// -1: none.
  func shorter(than place: Int) -> Int { shorter[place] }
}
