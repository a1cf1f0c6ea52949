import Foundation

/// Finds a container's program on this machine.
enum Commands {
  /// Where programs are looked for: beside the lab's own (`weft-lab echo`), then the usual places and the caller's.
  static var searchPath: String {
    let caller =
      ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    let directory = Programs.directory
    let parts = ([directory] + caller.split(separator: ":").map(String.init) + ["/usr/sbin", "/sbin"])
    var seen: Set<String> = []
    return parts.filter { seen.insert($0).inserted }.joined(separator: ":")
  }

  /// - Throws: `LabError` naming file, line and field where a container's program is missing.
  static func check(_ pod: PodManifest, directory: String) throws {
    for (index, container) in pod.containers.enumerated() {
      // A program named by a variable is known only when the container starts.
      guard let program = container.command.first, !program.contains("$(") else { continue }
      let path = container.environment.last { $0.name == "PATH" }.flatMap { variable -> String? in
        if case .literal(let text) = variable.value { return text }
        return nil
      }
      let base = container.workingDirectory.map { $0.hasPrefix("/") ? $0 : "\(directory)/\($0)" } ?? directory
      guard find(program, searchPath: path ?? searchPath, directory: base) != nil else {
        throw pod.manifest.root["spec"]["containers"].error(
          "[\(index)].command: \"\(program)\" is no program on this machine (looked "
            + (program.contains("/") ? "at that path" : "along PATH") + "); install it or name another")
      }
    }
  }

  /// The absolute path of an executable file, or nil.
  static func find(_ program: String, searchPath: String, directory: String) -> String? {
    if program.contains("/") {
      let path = program.hasPrefix("/") ? program : "\(directory)/\(program)"
      return isExecutable(path) ? path : nil
    }
    return searchPath.split(separator: ":").lazy.map { "\($0)/\(program)" }.first { isExecutable($0) }
  }

  private static func isExecutable(_ path: String) -> Bool {
    var info = stat()
    return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFREG && access(path, X_OK) == 0
  }
}

/// The project's programs, found beside the running one.
public enum Programs {
  /// The folder of the running program's file.
  public static var directory: String {
    let path =
      (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    return String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
  }

  static func path(_ name: String) throws -> String {
    let path = "\(directory)/\(name)"
    guard access(path, X_OK) == 0 else {
      throw LabError("\(path): isn't there. Build it beside weft-lab (swift build), or use --no-mesh.")
    }
    return path
  }
}
