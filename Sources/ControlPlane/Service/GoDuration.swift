/// A span of time as Go and Kubernetes write it: `90s`, `10m`, `24h`, `1h30m`.
public struct GoDuration: Hashable, Sendable {
  public let seconds: Double

  /// nil for anything but numbers with the units `ms`, `s`, `m`, `h`, without a sign.
  public init?(_ text: String) {
    var rest = text[...]
    var seconds = 0.0
    guard !rest.isEmpty else { return nil }
    while !rest.isEmpty {
      let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
      rest = rest.dropFirst(digits.count)
      let unit = rest.prefix { $0.isLetter }
      rest = rest.dropFirst(unit.count)
      guard let number = Double(digits), let factor = Self.units[String(unit)] else { return nil }
      seconds += number * factor
    }
    guard seconds.isFinite else { return nil }
    self.seconds = seconds
  }

  private static let units = ["ms": 0.001, "s": 1, "m": 60, "h": 3600]
}
