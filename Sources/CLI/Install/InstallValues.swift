import MeshModel

/// What was set, by name.
struct InstallValues: Hashable, Sendable {
  private(set) var values: [String: String] = [:]

  init() {}

  /// - Parameter settings: `name=value`; a later one counts.
  /// - Throws: `Failure` of usage.
  init(_ settings: [String]) throws {
    for text in settings { try set(text) }
  }

  mutating func set(_ text: String) throws {
    guard let sign = text.firstIndex(of: "=") else {
      throw Self.usage("--set \(Text.printable(String(text.prefix(200)))): give NAME=VALUE")
    }
    let name = String(text[..<sign])
    let value = String(text[text.index(after: sign)...])
    guard let setting = InstallSetting.all.first(where: { $0.name == name }) else { throw Self.unknown(name) }
    if let expected = setting.problem(value) {
      throw Self.usage("--set \(name)=\(Text.printable(String(value.prefix(200)))): it has to be \(expected)")
    }
    values[name] = value
  }

  /// These, and the other's over them.
  func merging(_ newer: InstallValues) -> InstallValues {
    var merged = self
    merged.values.merge(newer.values) { $1 }
    return merged
  }

  /// `name=value`, by name: what `init` reads.
  var lines: [String] { values.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" } }

  func apply(to manifests: inout [Manifest]) {
    for setting in InstallSetting.all {
      guard let value = values[setting.name] else { continue }
      for index in manifests.indices { setting.change(value, &manifests[index]) }
    }
  }

  private static func unknown(_ name: String) -> Failure {
    let names = InstallSetting.all.map(\.name)
    let shown = Text.printable(String(name.prefix(100)))
    let nearest = names.map { (name: $0, distance: editDistance($0.lowercased(), name.lowercased())) }
      .min { $0.distance < $1.distance }
    if let nearest, nearest.distance <= max(2, name.count / 3) {
      return Failure(message: "--set: \(shown) is not known; did you mean \(nearest.name)?", status: .usage)
    }
    return usage("--set: \(shown) is not known; known are \(names.joined(separator: ", "))")
  }

  private static func usage(_ message: String) -> Failure { Failure(message: message + ".", status: .usage) }
}
