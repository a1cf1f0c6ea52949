/// How values are written for people.
enum Text {
  /// Control characters escaped: names and reasons come from files and peers, and must not drive the terminal.
  static func printable(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isControl) else { return text }
    return text.unicodeScalars.map { isControl($0) ? $0.escaped(asASCII: true) : String($0) }.joined()
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    // Format characters too: they can turn the direction of writing.
    case .control, .format, .lineSeparator, .paragraphSeparator: true
    default: false
    }
  }

  /// A count of bytes with at most one decimal place: `999 B`, `1.5 KB`, powers of 1,000.
  static func bytes(_ count: Int) -> String {
    guard count >= 1_000 else { return "\(count) B" }
    var tenths = count / 100
    for unit in ["KB", "MB", "GB", "TB", "PB"] {
      if tenths < 10_000 { return "\(tenths / 10).\(tenths % 10) \(unit)" }
      tenths /= 1_000
    }
    return "\(tenths / 10).\(tenths % 10) EB"
  }

  /// A time span by its two largest units: `3s`, `2m5s`, `1h30m`, `4d2h`.
  static func duration(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "?" }
    let whole = Int(seconds)
    switch whole {
    case ..<60: return "\(whole)s"
    case ..<3_600: return "\(whole / 60)m\(whole % 60)s"
    case ..<86_400: return "\(whole / 3_600)h\(whole % 3_600 / 60)m"
    default: return "\(whole / 86_400)d\(whole % 86_400 / 3_600)h"
    }
  }

  /// With two decimal places at most: `0.25 ms`, `12.0 ms`, `9.88 s`.
  static func milliseconds(_ count: Double) -> String {
    guard count.isFinite, count >= 0, count < 1e12 else { return "?" }
    return count < 1_000 ? "\((count * 100).rounded() / 100) ms" : "\((count / 10).rounded() / 100) s"
  }

  static func yesNo(_ value: Bool) -> String { value ? "yes" : "no" }
}
