/// The Date field (RFC 9110 §6.6.1), formatted once for all messages of a second.
public struct HTTPDate: Sendable {
  /// The end of the year 9999: four digits have no later one.
  private static let last: Int64 = 253_402_300_799

  private var second: Int64 = 0
  /// An IMF-fixdate (RFC 9110 §5.6.7).
  private var text = Array("Thu, 01 Jan 1970 00:00:00 GMT".utf8)

  public init() {}

  /// Adds the field where there is none; the sender's own stays, whatever it says.
  /// - Parameter unixTime: seconds since 1970; what lies before it or behind the year 9999 counts as the nearest of these.
  public mutating func stamp(_ head: inout HTTPHead, unixTime: Int64) {
    guard head.index(of: "date") == nil else { return }
    let unixTime = min(max(unixTime, 0), Self.last)
    if unixTime != second { format(unixTime) }
    head.append(name: "date".utf8, value: text)
  }

  private mutating func format(_ unixTime: Int64) {
    second = unixTime
    let days = Int(unixTime / 86_400)
    let time = Int(unixTime % 86_400)
    put("ThuFriSatSunMonTueWed", days % 7, at: 0)
    // Years from March on, so that a leap day is the last of its year; 400 of them have 146,097 days.
    let shifted = days + 719_468
    let dayOfEra = shifted % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let month = (5 * dayOfYear + 2) / 153
    put(dayOfYear - (153 * month + 2) / 5 + 1, at: 5)
    put("MarAprMayJunJulAugSepOctNovDecJanFeb", month, at: 8)
    let year = shifted / 146_097 * 400 + yearOfEra + (month >= 10 ? 1 : 0)
    put(year / 100, at: 12)
    put(year % 100, at: 14)
    put(time / 3600, at: 17)
    put(time / 60 % 60, at: 20)
    put(time % 60, at: 23)
  }

  /// Two digits.
  private mutating func put(_ number: Int, at offset: Int) {
    text[offset] = UInt8(48 + number / 10)
    text[offset + 1] = UInt8(48 + number % 10)
  }

  private mutating func put(_ names: StaticString, _ index: Int, at offset: Int) {
    for letter in 0..<3 { text[offset + letter] = names.utf8Start[3 * index + letter] }
  }
}
