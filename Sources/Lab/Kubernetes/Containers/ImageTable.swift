import Foundation

/// Which command of this machine stands for an image.
struct ImageTable: Codable, Sendable, Equatable {
  /// By the image's name, with or without its tag.
  private(set) var commands: [String: [String]] = [:]

  /// - Throws: `LabError` naming file, line and field: a map of images to commands (a list of strings) is expected.
  mutating func add(_ root: Field) throws {
    guard let value = root.value, case .map(let pairs) = value.content else {
      throw root.error("expected a map of images to commands, as in `example.org/web:1: [python3, -m, http.server]`")
    }
    for (image, _) in pairs {
      let command = try root[image].strings()
      guard command.first?.isEmpty == false else { throw root[image].error("names no command") }
      commands[image] = command
    }
  }

  /// What a container runs.
  enum Entry: Equatable {
    /// A program and its arguments, before the container's `command` and `args` are looked at.
    case command([String])
    /// Any program of this machine: the container has to name one.
    case machine
  }

  /// - Parameter programs: those beside weft-lab; an image whose last part bears such a name is that program.
  func entry(_ image: String, programs: (String) -> Bool) -> Entry {
    let untagged = Self.withoutTag(image)
    if let command = commands[image] ?? commands[untagged] { return .command(command) }
    let name = untagged.split(separator: "/").last.map(String.init) ?? untagged
    return programs(name) ? .command([name]) : .machine
  }

  /// The argument vector, by the rules of Kubernetes: `command` replaces the image's entry point and its arguments, `args`
  /// only the arguments.
  /// - Returns: nil where the image is unknown and the container names no command: it can't be pulled.
  func arguments(
    _ image: String, command: [String], args: [String], programs: (String) -> Bool
  ) -> [String]? {
    if !command.isEmpty { return command + args }
    guard case .command(let entry) = entry(image, programs: programs) else { return nil }
    return args.isEmpty ? entry : [entry[0]] + args
  }

  /// `registry:5000/a/b:tag@sha256:…` is `registry:5000/a/b`.
  static func withoutTag(_ image: String) -> String {
    let name = image.split(separator: "@", maxSplits: 1).first.map(String.init) ?? image
    let slash = name.lastIndex(of: "/") ?? name.startIndex
    guard let colon = name[slash...].lastIndex(of: ":") else { return name }
    return String(name[..<colon])
  }
}
