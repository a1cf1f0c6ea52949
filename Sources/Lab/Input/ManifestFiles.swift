import Foundation
import Yams

/// Reads objects from YAML files.
enum ManifestFiles {
  static let maximumFileBytes = 4 << 20
  static let maximumFiles = 10_000

  /// Every `.yaml`, `.yml` and `.json` file directly in `directory`, in the order of their names.
  static func readDirectory(_ directory: String) throws -> [Manifest] {
    try paths(in: directory).flatMap { try readFile($0) }
  }

  /// The files that `readDirectory` reads, by name.
  static func paths(in directory: String) throws -> [String] {
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: directory)
    } catch {
      throw LabError("\(directory): can't be read as a folder. Give the folder that holds the lab's YAML files.")
    }
    let files = names.filter { name in
      !name.hasPrefix(".") && [".yaml", ".yml", ".json"].contains { name.hasSuffix($0) }
    }
    guard !files.isEmpty else { throw LabError("\(directory): holds no .yaml file") }
    guard files.count <= maximumFiles else { throw LabError("\(directory): holds more than \(maximumFiles) files") }
    return files.sorted().map { directory.hasSuffix("/") ? directory + $0 : "\(directory)/\($0)" }
  }

  static func readFile(_ path: String) throws -> [Manifest] {
    try values(path).map { try Manifest($0, file: path) }
  }

  /// The documents of a file that hold anything.
  static func values(_ path: String) throws -> [YAMLValue] {
    let text = try contents(path)
    do {
      var values: [YAMLValue] = []
      let parser = try Parser(yaml: text)
      while let node = try parser.nextRoot() {
        let value: YAMLValue
        do {
          value = try YAMLValue(node)
        } catch let error as LabError {
          throw LabError("\(path): \(error)")
        }
        if case .null = value.content { continue }
        values.append(value)
      }
      return values
    } catch let error as YamlError {
      throw LabError("\(path):\(Self.describe(error))")
    }
  }

  private static func contents(_ path: String) throws -> String {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw LabError("\(path): \(Errno.text(errno))") }
    defer { close(descriptor) }
    var info = stat()
    guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
      throw LabError("\(path): is no regular file")
    }
    guard info.st_size <= maximumFileBytes else {
      throw LabError("\(path): is larger than \(maximumFileBytes >> 20) MiB")
    }
    guard let text = String(validating: try Files.read(descriptor, limit: maximumFileBytes), as: UTF8.self) else {
      throw LabError("\(path): isn't UTF-8 text")
    }
    return text
  }

  private static func describe(_ error: YamlError) -> String {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      return "\(mark.line): \(problem)"
    case .duplicatedKeysInMapping(let duplicates, let context):
      return "\(context.mark.line): \(duplicates.sorted().joined(separator: ", ")): stands twice in one map"
    default:
      return " \(error)"
    }
  }
}
