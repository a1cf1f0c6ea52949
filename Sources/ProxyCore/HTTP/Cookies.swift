/// Cookies of a request (RFC 6265 §5.4): `name=value` pairs, in one field or several.
public enum Cookies {
  /// The first cookie of that name, without the quotes that may stand around its value.
  public static func value(_ name: String, in head: HTTPHead) -> HTTPHead.Slice? {
    first(name, in: head) { _ in true }
  }

  /// The first of that name whose value is wanted.
  public static func first(
    _ name: String, in head: HTTPHead, where isWanted: (HTTPHead.Slice) -> Bool
  ) -> HTTPHead.Slice? {
    var index = head.index(of: "cookie")
    while let found = index {
      let range = head.fields[found].value.range
      if let slice = head.bytes.withUnsafeBytes({ first(name.utf8, $0, range, isWanted) }) { return slice }
      index = head.index(of: "cookie", from: found + 1)
    }
    return nil
  }

  private static func first(
    _ name: some Collection<UInt8>, _ bytes: UnsafeRawBufferPointer, _ range: Range<Int>,
    _ isWanted: (HTTPHead.Slice) -> Bool
  ) -> HTTPHead.Slice? {
    var start = range.lowerBound
    while start < range.upperBound {
      let end = bytes[start..<range.upperBound].firstIndex(of: UInt8(ascii: ";")) ?? range.upperBound
      while start < end, bytes[start] == UInt8(ascii: " ") { start += 1 }
      if let equals = bytes[start..<end].firstIndex(of: UInt8(ascii: "=")), bytes[start..<equals].elementsEqual(name) {
        var value = equals + 1..<end
        if value.count >= 2, bytes[value.lowerBound] == UInt8(ascii: "\""), bytes[end - 1] == UInt8(ascii: "\"") {
          value = value.lowerBound + 1..<end - 1
        }
        let slice = HTTPHead.Slice(value.lowerBound, value.count)
        if isWanted(slice) { return slice }
      }
      start = end + 1
    }
    return nil
  }
}
