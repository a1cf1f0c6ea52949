import MeshModel

/// One match of a rule, ready to be compared with requests.
struct RouteMatchEntry: Sendable {
  enum Path: Sendable {
    case exact([UInt8])
    /// Without a slash at its end: `/` is empty.
    case prefix([UInt8])
    case regularExpression(RegularExpression)
  }

  /// What decides between matches of the same path, the least first.
  struct Rank: Sendable, Comparable {
    /// Of a regular expression's pattern, in bytes; of a gRPC match its service, in characters; else 0.
    var length: Int
    /// Of a gRPC match.
    var methodLength: Int
    var hasMethod: Bool
    var headers: Int
    var queryParameters: Int
    var created: Int64
    /// `namespace/name`
    var name: String
    var kind: UInt8
    var rule: Int

    static func < (left: Rank, right: Rank) -> Bool {
      if left.length != right.length { return left.length > right.length }
      if left.methodLength != right.methodLength { return left.methodLength > right.methodLength }
      if left.hasMethod != right.hasMethod { return left.hasMethod }
      if left.headers != right.headers { return left.headers > right.headers }
      if left.queryParameters != right.queryParameters { return left.queryParameters > right.queryParameters }
      if left.created != right.created { return left.created < right.created }
      if left.name != right.name { return left.name < right.name }
      if left.kind != right.kind { return left.kind < right.kind }
      return left.rule < right.rule
    }
  }

  let path: Path
  let rank: Rank
  let rule: CompiledRule
  /// In the rule.
  let index: Int
  private let isUnconditional: Bool
  /// Empty: any.
  private let method: [UInt8]
  private let headers: [RouteMatchValue]
  private let queryParameters: [RouteMatchValue]

  /// - Throws: what can't be read: such a match takes nothing.
  init(_ match: RouteMatch, at index: Int, of rule: CompiledRule) throws(RegularExpressionError) {
    self.rule = rule
    self.index = index
    let isGRPC = rule.route.kind == .grpc
    var length = isGRPC ? Int(match.serviceLength) : 0
    switch match.path {
    case .exact(let text): path = .exact(Array(text.utf8))
    case .prefix(let text):
      var bytes = Array(text.utf8)
      while bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
      path = .prefix(bytes)
    case .regularExpression(let pattern):
      path = .regularExpression(try RegularExpression(pattern))
      if !isGRPC { length = pattern.utf8.count }
    }
    method = Array(match.method.utf8)
    headers = try RouteMatchValue.all(match.headers, foldingCase: true)
    queryParameters = try RouteMatchValue.all(match.queryParameters, foldingCase: false)
    if case .regularExpression = path {
      isUnconditional = false
    } else {
      isUnconditional = method.isEmpty && headers.isEmpty && queryParameters.isEmpty
    }
    rank = Rank(
      length: length, methodLength: isGRPC ? Int(match.methodLength) : 0, hasMethod: !method.isEmpty,
      headers: headers.count, queryParameters: queryParameters.count, created: rule.route.created,
      name: "\(rule.route.namespace)/\(rule.route.name)", kind: rule.route.kind.rawValue, rule: rule.index)
  }

  static func all(of route: Route, problems: inout [String]) -> [RouteMatchEntry] {
    var entries: [RouteMatchEntry] = []
    for (index, rule) in route.rules.enumerated() {
      let compiled = CompiledRule(rule, index: index, of: route)
      for (place, match) in (rule.matches.isEmpty ? [RouteMatch()] : rule.matches).enumerated() {
        do throws(RegularExpressionError) {
          entries.append(try RouteMatchEntry(match, at: place, of: compiled))
        } catch {
          problems.append("\(route.id), rule \(index + 1): \(error)")
        }
      }
    }
    return entries
  }

  var isGRPC: Bool { rank.kind == Route.Kind.grpc.rawValue }

  /// The first header of which it wants an exact value.
  var exactHeader: (name: [UInt8], value: [UInt8])? {
    for header in headers {
      if let value = header.exactFieldValue { return (header.name, value) }
    }
    return nil
  }

  /// Of a regular expression: the whole segments that all of its texts begin with.
  var wholeSegments: [UInt8] {
    guard case .regularExpression(let expression) = path else { return [] }
    return Array(expression.literalPrefix[..<(expression.literalPrefix.lastIndex(of: UInt8(ascii: "/")) ?? 0)])
  }

  /// Whether all of the conditions hold; an exact path's and a prefix's has been looked up already.
  func takes(
    _ head: HTTPHead, _ bytes: UnsafeRawBufferPointer, path: UnsafeRawBufferPointer, query: UnsafeRawBufferPointer
  ) -> Bool {
    if isUnconditional { return true }
    if !method.isEmpty, !bytes[head.method.range].elementsEqual(method) { return false }
    for header in headers where !header.isIn(head, bytes) { return false }
    for parameter in queryParameters where !parameter.isIn(query: query) { return false }
    if case .regularExpression(let expression) = self.path { return expression.matches(path) }
    return true
  }
}
