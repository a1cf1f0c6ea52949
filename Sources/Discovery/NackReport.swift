/// The text of a NACK: a line `name: reason` for each refused resource, so that people can read it in any xDS tool
/// and the control plane can tell the resources apart.
enum NackReport {
  static let maximumBytes = 64 * 1024
  static let maximumReasonBytes = 1024

  static func text(_ rejected: [RejectedResource]) -> String {
    var text = ""
    for (index, resource) in rejected.enumerated() {
      let reason = oneLine(resource.reason)
      let line = resource.name.isEmpty ? reason : "\(resource.name): \(reason)"
      guard text.utf8.count + line.utf8.count < maximumBytes else {
        text += "and \(rejected.count - index) more\n"
        break
      }
      text += line + "\n"
    }
    return text
  }

  /// - Parameter names: what the refused response held; a line that starts with none of them is about all of it.
  static func parse(_ text: String, typeURL: String, names: [String]) -> [String: String] {
    let known = Set(names)
    var reasons: [String: String] = [:]
    for line in text.split(separator: "\n") {
      // A name may hold colons itself, so every one is tried, the longest name first.
      var name = ""
      var reason = line
      var end = line.endIndex
      while let colon = line[..<end].lastIndex(of: ":") {
        if known.contains(String(line[..<colon])) {
          name = String(line[..<colon])
          reason = line[line.index(after: colon)...].drop { $0 == " " }
          break
        }
        end = colon
      }
      reasons[name] = String(reason.prefix(maximumReasonBytes))
    }
    if reasons.isEmpty { reasons[""] = "refused without a reason" }
    return reasons
  }

  private static func oneLine(_ text: String) -> String {
    String(text.prefix(maximumReasonBytes).map { $0.isNewline ? " " : $0 })
  }
}
