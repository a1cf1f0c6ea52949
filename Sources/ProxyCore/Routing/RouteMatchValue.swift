import MeshModel

/// A header's or a query parameter's condition.
///
/// What the specification leaves open, as decided here: a header that a request repeats counts as its values joined by
/// `, ` (RFC 9110 §5.3); of a repeated query parameter the first counts. Query parameters are read as
/// `application/x-www-form-urlencoded`: percent-decoded, `+` is a space; a `%` without two digits stands for itself.
struct RouteMatchValue: Sendable {
  private enum Condition: Sendable {
    case exact([UInt8])
    case regularExpression(RegularExpression)
  }

  /// Of a header: lower case.
  let name: [UInt8]
  private let condition: Condition
  private let isHost: Bool

  /// Of conditions with the same name the first counts.
  static func all(_ values: [RouteMatch.Value], foldingCase: Bool) throws(RegularExpressionError) -> [RouteMatchValue] {
    var names: Set<String> = []
    var result: [RouteMatchValue] = []
    for value in values {
      let name = foldingCase ? value.name.lowercased() : value.name
      guard names.insert(name).inserted else { continue }
      let condition: Condition =
        value.isRegularExpression
        ? .regularExpression(try RegularExpression(value.value)) : .exact(Array(value.value.utf8))
      result.append(
        RouteMatchValue(name: Array(name.utf8), condition: condition, isHost: foldingCase && name == "host"))
    }
    return result
  }

  // MARK: Headers

  /// nil: it isn't an exact value, or not that of a field.
  var exactFieldValue: [UInt8]? {
    guard case .exact(let value) = condition, !isHost else { return nil }
    return value
  }

  func isIn(_ head: HTTPHead, _ bytes: UnsafeRawBufferPointer) -> Bool {
    // HTTP/2 carries it as a pseudo-header field.
    if isHost { return takes(UnsafeRawBufferPointer(rebasing: bytes[head.authority.range])) }
    guard let first = head.index(of: name) else { return false }
    guard let second = head.index(of: name, from: first + 1) else {
      return takes(UnsafeRawBufferPointer(rebasing: bytes[head.fields[first].value.range]))
    }
    var length = Int(head.fields[first].value.count)
    var next: Int? = second
    while let index = next {
      length += 2 + Int(head.fields[index].value.count)
      next = head.index(of: name, from: index + 1)
    }
    return withUnsafeTemporaryAllocation(byteCount: length, alignment: 1) { joined in
      var used = 0
      var next: Int? = first
      while let index = next {
        if used > 0 {
          joined[used] = UInt8(ascii: ",")
          joined[used + 1] = UInt8(ascii: " ")
          used += 2
        }
        let value = UnsafeRawBufferPointer(rebasing: bytes[head.fields[index].value.range])
        UnsafeMutableRawBufferPointer(rebasing: joined[used...]).copyMemory(from: value)
        used += value.count
        next = head.index(of: name, from: index + 1)
      }
      return takes(UnsafeRawBufferPointer(rebasing: joined[..<used]))
    }
  }

  // MARK: Query parameters

  func isIn(query: UnsafeRawBufferPointer) -> Bool {
    var start = 0
    while start < query.count {
      var end = start
      var equals = -1
      while end < query.count, query[end] != UInt8(ascii: "&") {
        if equals < 0, query[end] == UInt8(ascii: "=") { equals = end }
        end += 1
      }
      let nameEnd = equals < 0 ? end : equals
      if isName(UnsafeRawBufferPointer(rebasing: query[start..<nameEnd])) {
        let value = UnsafeRawBufferPointer(rebasing: query[min(nameEnd + 1, end)..<end])
        return withUnsafeTemporaryAllocation(byteCount: value.count, alignment: 1) { decoded in
          var used = 0
          var index = 0
          while index < value.count {
            decoded[used] = Self.decode(value, &index)
            used += 1
          }
          return takes(UnsafeRawBufferPointer(rebasing: decoded[..<used]))
        }
      }
      start = end + 1
    }
    return false
  }

  private func isName(_ encoded: UnsafeRawBufferPointer) -> Bool {
    var index = 0
    for byte in name {
      guard index < encoded.count, Self.decode(encoded, &index) == byte else { return false }
    }
    return index == encoded.count
  }

  private static func decode(_ bytes: UnsafeRawBufferPointer, _ index: inout Int) -> UInt8 {
    let byte = bytes[index]
    index += 1
    if byte == UInt8(ascii: "+") { return UInt8(ascii: " ") }
    guard byte == UInt8(ascii: "%"), index + 1 < bytes.count, let high = bytes[index].hexadecimalDigit,
      let low = bytes[index + 1].hexadecimalDigit
    else { return byte }
    index += 2
    return high << 4 | low
  }

  private func takes(_ value: UnsafeRawBufferPointer) -> Bool {
    switch condition {
    case .exact(let wanted): value.elementsEqual(wanted)
    case .regularExpression(let expression): expression.matches(value)
    }
  }
}
