/// Cookies of a request (RFC 6265 §5.4): `name=value` pairs, in one field or several.
public enum Cookies {
  /// The first cookie of that name, without the quotes that may stand around its value.
  public static func value(_ name: String, in head: HTTPHead) -> HTTPHead.Slice? {
    var index = head.index(of: "cookie")
    while let found = index {
      if let slice = head.bytes.withUnsafeBytes({ value(name.utf8, $0, head.fields[found].value.range) }) {
        return slice
      }
      index = head.index(of: "cookie", from: found + 1)
    }
    return nil
  }

  private static func value(
    _ name: some Collection<UInt8>, _ bytes: UnsafeRawBufferPointer, _ range: Range<Int>
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
        return HTTPHead.Slice(value.lowerBound, value.count)
      }
      start = end + 1
    }
    return nil
  }
}
