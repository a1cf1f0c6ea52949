/// RFC 3339 in UTC, to the second, of seconds since 1970.
public func utcText(_ seconds: Int64) -> String {
  // Days to a date by shifting the year's start to March (Howard Hinnant's algorithm).
  let days = Int(seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400)
  let second = Int(seconds) - days * 86_400
  let shifted = days + 719_468
  let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
  let ofEra = shifted - era * 146_097
  let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
  let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
  let monthFromMarch = (5 * ofYear + 2) / 153
  let day = ofYear - (153 * monthFromMarch + 2) / 5 + 1
  let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
  let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
  return "\(year)-\(two(month))-\(two(day))T\(two(second / 3600)):\(two(second / 60 % 60)):\(two(second % 60))Z"
}
