import MeshModel

/// The values that routes and policies are made of.
extension Field {
  /// A whole number without quotes.
  func number(_ range: ClosedRange<UInt32>) throws(ConfigProblem) -> UInt32 {
    if case .scalar(let text, isPlain: true) = node.content, let value = UInt32(text), range.contains(value) {
      return value
    }
    throw expected("a whole number from \(range.lowerBound) to \(range.upperBound)")
  }

  /// Of a list whose length is bounded.
  func list(upTo count: Int) throws(ConfigProblem) -> [Field] {
    let list = try list()
    guard list.count <= count else { throw problem("\(list.count) elements; at most \(count) are allowed") }
    return list
  }

  /// Milliseconds of a Go duration, 1 ms to `TrafficTime.maximum`.
  /// - Parameter zero: whether `0s` is allowed, which turns off.
  func duration(zero: Bool = true) throws(ConfigProblem) -> UInt32 {
    let text = try durationText()
    guard let duration = GoDuration(text) else { throw expected("a duration such as 250ms, 1.5s or 1m30s") }
    let milliseconds = (duration.seconds * 1000).rounded()
    // What is judged isn't rounded, as in the definitions' rules.
    guard 0.001 - 1e-12...Double(TrafficTime.maximum) / 1000 ~= duration.seconds || (zero && duration.seconds == 0)
    else {
      throw problem("\(text) is out of range: 1ms to 1193h\(zero ? ", or 0s to turn it off" : "")")
    }
    return UInt32(milliseconds)
  }

  /// Milliseconds of a duration as the Gateway API has it (GEP-2257): up to four whole numbers of at most five digits;
  /// of the range of `duration()`.
  func gatewayDuration() throws(ConfigProblem) -> UInt32 {
    let text = try durationText()
    guard Self.isGatewayDuration(text) else {
      throw expected("a duration of the Gateway API such as 250ms, 10s or 1h30m (GEP-2257)")
    }
    return try duration()
  }

  /// Whole seconds of how long something lives at a client: 1 s to 366 days.
  func lifetime() throws(ConfigProblem) -> UInt32 {
    let text = try durationText()
    guard let duration = GoDuration(text) else { throw expected("a duration such as 90s, 10m or 24h") }
    let seconds = duration.seconds.rounded(.up)
    guard 1...(366 * 86400) ~= seconds else { throw problem("\(text) is out of range: more than 0s, up to 8784h") }
    return UInt32(seconds)
  }

  private func durationText() throws(ConfigProblem) -> String {
    guard case .scalar(let text, _) = node.content, !node.isNull, text.utf8.count <= 64 else {
      throw expected("a duration such as 250ms")
    }
    return text
  }

  private static func isGatewayDuration(_ text: String) -> Bool {
    var rest = text[...]
    var parts = 0
    while !rest.isEmpty {
      let digits = rest.prefix { $0.isASCII && $0.isNumber }
      rest = rest.dropFirst(digits.count)
      let unit = rest.prefix { $0.isLetter }
      rest = rest.dropFirst(unit.count)
      parts += 1
      guard 1...5 ~= digits.count, parts <= 4, ["h", "m", "s", "ms"].contains(unit) else { return false }
    }
    return parts > 0
  }

  /// `20`, `20%` or `12.5%`, in so many parts of a per cent.
  func percent(parts: Double = 1) throws(ConfigProblem) -> UInt32 {
    if case .scalar(let text, _) = node.content, !node.isNull, text.utf8.count <= 16 {
      let digits = text.hasSuffix("%") ? text.dropLast() : text[...]
      if digits.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == ".") }), let value = Double(digits), 0...100 ~= value {
        let scaled = value * parts
        // 1.1 and most others have no exact form.
        if abs(scaled.rounded() - scaled) < 1e-6 { return UInt32(scaled.rounded()) }
        throw problem("\(text) is finer than \(1 / parts) per cent")
      }
    }
    throw expected("a percentage from 0 to 100")
  }

  /// Text of bounded length without control characters.
  func line(_ bytes: ClosedRange<Int>) throws(ConfigProblem) -> String {
    let text = try text()
    guard bytes.contains(text.utf8.count), text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }) else {
      throw expected("text of \(bytes.lowerBound) to \(bytes.upperBound) bytes without control characters")
    }
    return text
  }

  /// A header's or a cookie's name (RFC 9110 §5.6.2).
  func token() throws(ConfigProblem) -> String {
    let text = try text()
    guard text.utf8.count <= 256, HTTPToken.isToken(text) else {
      throw expected("a name of 1 to 256 letters, digits and !#$%&'*+-.^_`|~ (RFC 9110)")
    }
    return text
  }

  /// A pattern that can be used.
  func regularExpression() throws(ConfigProblem) -> String {
    let text = try text()
    guard !text.isEmpty else { throw expected("a regular expression") }
    do {
      _ = try RegularExpression(text)
    } catch {
      throw problem(error.description)
    }
    return text
  }

  /// A host name in lower case, `*.` before it where that is allowed.
  func hostname(wildcard: Bool) throws(ConfigProblem) -> String {
    let text = try text()
    let rest = wildcard && text.hasPrefix("*.") ? text.dropFirst(2) : text[...]
    guard DNSName.isSubdomain(rest), IPAddress(text) == nil else {
      throw expected("a host name in lower case\(wildcard ? ", *. before it where it stands for all under it" : "")")
    }
    return text
  }

  /// Seconds since 1970 of an RFC 3339 time.
  func timestamp() throws(ConfigProblem) -> Int64 {
    guard case .scalar(let text, _) = node.content, let seconds = RFC3339.seconds(text) else {
      throw expected("a time such as 2026-01-31T12:00:00Z (RFC 3339)")
    }
    return seconds
  }
}

/// Times as Kubernetes writes them.
enum RFC3339 {
  /// Seconds since 1970; fractions are dropped. nil where it is no such time.
  static func seconds(_ text: String) -> Int64? {
    let bytes = Array(text.utf8.prefix(64))
    guard bytes.count >= 20, bytes.count == text.utf8.count, bytes[4] == UInt8(ascii: "-"),
      bytes[7] == UInt8(ascii: "-"), bytes[10] | 0x20 == UInt8(ascii: "t"), bytes[13] == UInt8(ascii: ":"),
      bytes[16] == UInt8(ascii: ":"), let year = number(bytes[0..<4]), let month = number(bytes[5..<7]),
      let day = number(bytes[8..<10]), let hour = number(bytes[11..<13]), let minute = number(bytes[14..<16]),
      let second = number(bytes[17..<19]), 1...12 ~= month, 1...daysInMonth(month, year) ~= day, hour < 24,
      minute < 60, second <= 60
    else { return nil }
    var rest = bytes[19...]
    if rest.first == UInt8(ascii: ".") {
      rest = rest.dropFirst()
      let digits = rest.prefix { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
      guard !digits.isEmpty else { return nil }
      rest = rest.dropFirst(digits.count)
    }
    guard let offset = offset(rest) else { return nil }
    return days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
  }

  private static func offset(_ bytes: ArraySlice<UInt8>) -> Int64? {
    let bytes = Array(bytes)
    if bytes.count == 1 { return bytes[0] | 0x20 == UInt8(ascii: "z") ? 0 : nil }
    guard bytes.count == 6, bytes[3] == UInt8(ascii: ":"), let hours = number(bytes[1..<3]),
      let minutes = number(bytes[4..<6]), hours < 24, minutes < 60
    else { return nil }
    switch bytes[0] {
    case UInt8(ascii: "+"): return hours * 3600 + minutes * 60
    case UInt8(ascii: "-"): return -(hours * 3600 + minutes * 60)
    default: return nil
    }
  }

  private static func number(_ digits: ArraySlice<UInt8>) -> Int64? {
    var value: Int64 = 0
    for digit in digits {
      guard UInt8(ascii: "0")...UInt8(ascii: "9") ~= digit else { return nil }
      value = value * 10 + Int64(digit - UInt8(ascii: "0"))
    }
    return value
  }

  private static func isLeap(_ year: Int64) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

  private static func daysInMonth(_ month: Int64, _ year: Int64) -> Int64 {
    month == 2 ? (isLeap(year) ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
  }

  /// Days since 1970-01-01 of the proleptic Gregorian calendar; its years begin in March here.
  private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let year = month <= 2 ? year - 1 : year
    let era = (year >= 0 ? year : year - 399) / 400
    let yearOfEra = year - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }
}
