/// How often an OPTIONS or TRACE may still be forwarded (RFC 9110 §7.6.2).
public enum MaxForwards {
  /// Counts this hop in the field. true: the request may go no further, and whoever asks is its last recipient. Of other
  /// methods the field is left alone, and so is what is no number. Numbers above 2^32 - 1 count as that one.
  public static func isSpent(_ head: inout HTTPHead) -> Bool {
    guard head.equals(head.method, "OPTIONS") || head.equals(head.method, "TRACE") else { return false }
    var next = head.index(of: "max-forwards")
    while let index = next {
      if let left = head.withBytes(of: head.fields[index].value, number) {
        guard left > 0 else { return true }
        head.fields[index].value = head.store(String(left - 1).utf8)
      }
      next = head.index(of: "max-forwards", from: index + 1)
    }
    return false
  }

  private static func number(_ text: UnsafeRawBufferPointer) -> UInt64? {
    guard !text.isEmpty else { return nil }
    var value: UInt64 = 0
    for digit in text {
      guard digit &- 48 < 10 else { return nil }
      value = min(value * 10 + UInt64(digit - 48), UInt64(UInt32.max))
    }
    return value
  }
}
