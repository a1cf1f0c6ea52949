/// The field value of Retry-After (RFC 9110 §10.2.3): seconds or an HTTP-date in any of its three formats (§5.6.7).
public enum RetryAfter {
  /// A delay in nanoseconds, at most a day; nil where the value is neither.
  /// - Parameter unixTime: seconds since 1970.
  public static func parse(_ value: some Sequence<UInt8>, unixTime: Int64) -> NanoTime? {
    var text: [UInt8] = []
    text.reserveCapacity(40)
    for byte in value {
      guard text.count < 40 else { return nil }
      text.append(byte)
    }
    var reader = Reader(text: text)
    reader.skipSpaces()
    let seconds: Int64
    if reader.isDigit {
      guard let count = reader.number(digits: 1...20) else { return nil }
      seconds = count
    } else {
      guard let date = reader.date(near: unixTime) else { return nil }
      seconds = max(0, date.subtractingReportingOverflow(unixTime).partialValue)
    }
    reader.skipSpaces()
    guard reader.isAtEnd else { return nil }
    return .seconds(UInt64(min(seconds, 86_400)))
  }

  private struct Reader {
    let text: [UInt8]
    var offset = 0

    init(text: [UInt8]) { self.text = text }

    var isAtEnd: Bool { offset == text.count }
    var isDigit: Bool { offset < text.count && Self.isDigit(text[offset]) }

    private static func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }

    mutating func skipSpaces() {
      while offset < text.count, text[offset] == 32 || text[offset] == 9 { offset += 1 }
    }

    mutating func take(_ literal: StaticString) -> Bool {
      let bytes = UnsafeBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount)
      guard text[offset...].starts(with: bytes) else { return false }
      offset += bytes.count
      return true
    }

    /// Saturated at 2^53.
    mutating func number(digits: ClosedRange<Int>) -> Int64? {
      var value: Int64 = 0
      var count = 0
      while isDigit {
        count += 1
        guard count <= digits.upperBound else { return nil }
        value = min(value * 10 + Int64(text[offset] - 48), 1 << 53)
        offset += 1
      }
      return count >= digits.lowerBound ? value : nil
    }

    private mutating func name(_ names: [StaticString]) -> Int? {
      for (index, name) in names.enumerated() where take(name) { return index }
      return nil
    }

    private mutating func month() -> Int? {
      name(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"])
    }

    /// `HH:MM:SS`, as seconds; 60 of a leap second is allowed.
    private mutating func time() -> Int64? {
      guard let hour = number(digits: 2...2), take(":"), let minute = number(digits: 2...2), take(":"),
        let second = number(digits: 2...2), hour < 24, minute < 60, second <= 60
      else { return nil }
      return hour * 3600 + minute * 60 + second
    }

    mutating func date(near unixTime: Int64) -> Int64? {
      // Before the short names, which they begin with.
      if name(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]) != nil {
        guard take(", ") else { return nil }
        return rfc850(near: unixTime)
      }
      guard name(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]) != nil else { return nil }
      return take(", ") ? fixdate() : asctime()
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    private mutating func fixdate() -> Int64? {
      guard let day = number(digits: 2...2), take(" "), let month = month(), take(" "),
        let year = number(digits: 4...4), take(" "), let time = time(), take(" GMT")
      else { return nil }
      return Self.unix(year, month, day, time)
    }

    /// `Sunday, 06-Nov-94 08:49:37 GMT`: a year that seems more than 50 ahead is the last one with these digits.
    private mutating func rfc850(near unixTime: Int64) -> Int64? {
      guard let day = number(digits: 2...2), take("-"), let month = month(), take("-"),
        let short = number(digits: 2...2), take(" "), let time = time(), take(" GMT")
      else { return nil }
      let thisYear = 1970 + unixTime / 31_556_952
      var year = thisYear - thisYear % 100 + short
      if year > thisYear + 50 { year -= 100 }
      return Self.unix(year, month, day, time)
    }

    /// `Sun Nov  6 08:49:37 1994`
    private mutating func asctime() -> Int64? {
      guard take(" "), let month = month(), take(" ") else { return nil }
      let hasPadding = take(" ")
      guard let day = number(digits: hasPadding ? 1...1 : 2...2), take(" "), let time = time(), take(" "),
        let year = number(digits: 4...4)
      else { return nil }
      return Self.unix(year, month, day, time)
    }

    /// - Parameter month: 0 to 11.
    private static func unix(_ year: Int64, _ month: Int, _ day: Int64, _ time: Int64) -> Int64? {
      let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
      let lengths: [Int64] = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
      guard year >= 1, (1...lengths[month]).contains(day) else { return nil }
      let before = year - 1
      let days = before * 365 + before / 4 - before / 100 + before / 400 - 719_162
      return (days + lengths[..<month].reduce(0, +) + day - 1) * 86_400 + time
    }
  }
}
