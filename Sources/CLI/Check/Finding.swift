import FoundationEssentials

/// What a check of an installation has found.
struct Finding: Codable, Equatable, Sendable {
  enum Severity: String, Codable, Sendable {
    case ok
    /// Works, and needs attention.
    case warning
    case error
  }

  var severity: Severity
  /// What was looked at.
  var check: String
  /// Which object or node; empty: the whole.
  var place = ""
  /// What is the case, and why.
  var reason: String
  /// A command, or what else to do; empty where nothing is to be done.
  var repair = ""

  static func ok(_ check: String, _ reason: String) -> Finding {
    Finding(severity: .ok, check: check, reason: reason)
  }
}

extension [Finding] {
  /// Of one check: so many that a person reads them.
  private static var limit: Int { 20 }

  /// Cut to what is worth reading of one check, with the count of the rest.
  func cut() -> [Finding] {
    guard count > Self.limit, let last else { return self }
    let more = Finding(severity: last.severity, check: last.check, reason: "and \(count - Self.limit) more")
    return prefix(Self.limit) + [more]
  }

  var status: ExitStatus { contains { $0.severity == .error } ? .unhealthy : .fine }

  func text(_ style: Style) -> String {
    let width = map { Text.printable($0.check).count }.max() ?? 0
    return map { finding in
      let mark =
        switch finding.severity {
        case .ok: style.success
        case .warning: style.warning
        case .error: style.failure
        }
      let check = Text.printable(finding.check)
      let place = finding.place.isEmpty ? "" : Text.printable(finding.place) + ": "
      var line = "\(mark) \(check)\(String(repeating: " ", count: width + 2 - check.count))"
      line += "\(place)\(Text.printable(finding.reason))\n"
      guard !finding.repair.isEmpty else { return line }
      let indent = String(repeating: " ", count: mark.count + width + 3)
      return line + "\(indent)repair: \(Text.printable(finding.repair))\n"
    }.joined()
  }

  func json() throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return PrettyJSON.format(try encoder.encode(["findings": self]))
  }
}
