import MeshModel

/// A path's replacement, checked.
struct PathReplacement: Sendable {
  /// Of a prefix: without slashes at its end, and empty for `/`.
  private let bytes: [UInt8]
  private let isPrefix: Bool

  init(_ modifier: PathModifier) throws(FilterError) {
    let text: String
    switch modifier {
    case .replaceFull(let path): (text, isPrefix) = (path, false)
    case .replacePrefix(let path): (text, isPrefix) = (path, true)
    }
    if let problem = modifier.problem { throw FilterError(description: problem) }
    var bytes = Array(text.utf8)
    if isPrefix {
      while bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
    }
    if !bytes.isEmpty || !isPrefix, bytes.first != UInt8(ascii: "/") { bytes.insert(UInt8(ascii: "/"), at: 0) }
    self.bytes = bytes
  }

  /// Appends the path of `head` as it is to be, with its query, to `text`.
  func write(_ head: HTTPHead, matchedPrefix: Int, to text: inout [UInt8]) {
    let end = head.pathWithoutQuery.range.upperBound
    text += bytes
    if isPrefix {
      var rest = head.path.range.lowerBound + min(matchedPrefix, Int(head.pathWithoutQuery.count))
      // An exact match of `/foo/` leaves nothing; a prefix leaves a slash or nothing.
      let isEmpty = bytes.isEmpty && rest == end
      if isEmpty { text.append(UInt8(ascii: "/")) }
      while rest < end {
        text.append(head.bytes[rest])
        rest += 1
      }
    }
    var index = end
    while index < head.path.range.upperBound {
      text.append(head.bytes[index])
      index += 1
    }
  }
}

/// Changes the request on its way to the backend.
public struct RewriteFilter: Sendable {
  /// Empty: the request's own.
  private let hostname: [UInt8]
  private let path: PathReplacement?

  public init(_ rewrite: Rewrite) throws(FilterError) {
    guard HTTPToken.isHostname(rewrite.hostname.utf8) else {
      throw FilterError(description: "\"\(rewrite.hostname)\" isn't a host's name")
    }
    hostname = Array(rewrite.hostname.utf8)
    if let modifier = rewrite.path { path = try PathReplacement(modifier) } else { path = nil }
  }

  /// - Parameter matchedPrefix: `RouteTable.Found.matchedPrefix`
  public func apply(to head: inout HTTPHead, matchedPrefix: Int) {
    if !hostname.isEmpty { head.replaceHost(hostname) }
    guard let path else { return }
    var text: [UInt8] = []
    text.reserveCapacity(Int(head.path.count) + 64)
    path.write(head, matchedPrefix: matchedPrefix, to: &text)
    head.setPath(text)
  }
}
