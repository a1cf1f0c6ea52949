import MeshModel

/// The matches of one hostname, by their paths.
struct RouteTablePaths: Sendable {
  private struct Prefix: Sendable {
    var entries: Range<Int>
    var length: Int
    /// The next shorter prefix of the same path; -1: none.
    var shorter: Int
  }

  /// Those of a path together, in the order of their precedence.
  private let entries: [RouteMatchEntry]
  private let exactPaths: ByteTable
  private let exact: [Range<Int>]
  private let regularExpressions: Range<Int>
  private let prefixPaths: ByteTable
  private let prefixes: [Prefix]
  /// The prefix `/`, which is empty here; -1: none.
  private let root: Int

  init(_ all: [RouteMatchEntry]) {
    var exactLists: [[UInt8]: [RouteMatchEntry]] = [:]
    var prefixLists: [[UInt8]: [RouteMatchEntry]] = [:]
    var expressions: [RouteMatchEntry] = []
    for entry in all {
      switch entry.path {
      case .exact(let path): exactLists[path, default: []].append(entry)
      case .prefix(let path): prefixLists[path, default: []].append(entry)
      case .regularExpression: expressions.append(entry)
      }
    }
    var entries: [RouteMatchEntry] = []
    func add(_ list: [RouteMatchEntry]) -> Range<Int> {
      entries += list.sorted { $0.rank < $1.rank }
      return entries.count - list.count..<entries.count
    }
    let exactKeys = Array(exactLists.keys)
    exact = exactKeys.map { add(exactLists[$0] ?? []) }
    exactPaths = ByteTable(exactKeys.map { ($0, ByteHash.of($0)) })
    regularExpressions = add(expressions)
    let prefixKeys = Array(prefixLists.keys)
    var places: [[UInt8]: Int] = [:]
    for (place, key) in prefixKeys.enumerated() { places[key] = place }
    prefixes = prefixKeys.map { key in
      var shorter = key[...]
      var place = -1
      while place < 0, let slash = shorter.lastIndex(of: UInt8(ascii: "/")) {
        shorter = shorter[..<slash]
        place = places[Array(shorter)] ?? -1
      }
      return Prefix(entries: add(prefixLists[key] ?? []), length: key.count, shorter: place)
    }
    prefixPaths = ByteTable(prefixKeys.map { ($0, ByteHash.of($0)) })
    root = places[[]] ?? -1
    self.entries = entries
  }

  /// - Parameter bytes: the head's arena.
  func match(_ head: HTTPHead, _ bytes: UnsafeRawBufferPointer) -> RouteTable.Found? {
    let all = UnsafeRawBufferPointer(rebasing: bytes[head.path.range])
    var hash = ByteHash.start
    var deepest = root
    var end = 0
    while end < all.count, all[end] != UInt8(ascii: "?") {
      if all[end] == UInt8(ascii: "/"), end > 0, end <= prefixPaths.longest {
        deepest = prefixPaths.find(hash: hash, UnsafeRawBufferPointer(rebasing: all[..<end])) ?? deepest
      }
      hash = ByteHash.step(hash, all[end])
      end += 1
    }
    let path = UnsafeRawBufferPointer(rebasing: all[..<end])
    let query = UnsafeRawBufferPointer(rebasing: all[min(end + 1, all.count)...])
    if let place = exactPaths.find(hash: hash, path),
      let rule = first(of: exact[place], head, bytes, path, query)
    {
      return RouteTable.Found(rule: rule, matchedPrefix: end)
    }
    if let rule = first(of: regularExpressions, head, bytes, path, query) {
      return RouteTable.Found(rule: rule, matchedPrefix: end)
    }
    if end > 0 { deepest = prefixPaths.find(hash: hash, path) ?? deepest }
    while deepest >= 0 {
      let prefix = prefixes[deepest]
      if let rule = first(of: prefix.entries, head, bytes, path, query) {
        return RouteTable.Found(rule: rule, matchedPrefix: prefix.length)
      }
      deepest = prefix.shorter
    }
    return nil
  }

  private func first(
    of range: Range<Int>, _ head: HTTPHead, _ bytes: UnsafeRawBufferPointer, _ path: UnsafeRawBufferPointer,
    _ query: UnsafeRawBufferPointer
  ) -> CompiledRule? {
    entries.withUnsafeBufferPointer { entries in
      for index in range where entries[index].takes(head, bytes, path: path, query: query) {
        return entries[index].rule
      }
      return nil
    }
  }
}
