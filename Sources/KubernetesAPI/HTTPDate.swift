import FoundationEssentials

/// HTTP's times (RFC 9110 §5.6.7).
enum HTTPDate {
  private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

  /// IMF-fixdate, the form that servers have to send: `Sun, 06 Nov 1994 08:49:37 GMT`; nil: anything else.
  static func read(_ text: String) -> Date? {
    guard text.utf8.count == 29 else { return nil }
    let parts = text.split(separator: " ")
    guard parts.count == 6, parts[5] == "GMT", let month = months.firstIndex(of: String(parts[2])) else { return nil }
    let number = month < 9 ? "0\(month + 1)" : "\(month + 1)"
    let text = "\(parts[3])-\(number)-\(parts[1])T\(parts[4])Z"
    // The strategy would take a 31st of February for a day of March.
    guard let date = try? Date(text, strategy: .iso8601), date.formatted(.iso8601) == text else { return nil }
    return date
  }
}
