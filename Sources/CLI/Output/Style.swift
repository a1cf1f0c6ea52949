import Glibc

/// What the terminal can show.
struct Style: Equatable, Sendable {
  var isUnicode: Bool

  var success: String { isUnicode ? "✓" : "ok  " }
  var warning: String { isUnicode ? "!" : "warn" }
  var failure: String { isUnicode ? "✗" : "FAIL" }

  static func ofProcess() -> Style { Style(environment: { getenv($0).map { String(cString: $0) } }) }

  init(isUnicode: Bool) { self.isUnicode = isUnicode }

  /// The first of these variables that is set and not empty decides (POSIX, chapter 8.2).
  init(environment: (String) -> String?) {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].lazy.compactMap(environment).first { !$0.isEmpty } ?? "C"
    let name = locale.lowercased()
    isUnicode = name.contains("utf-8") || name.contains("utf8")
  }
}
