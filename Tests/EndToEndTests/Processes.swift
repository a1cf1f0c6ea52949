import Foundation

/// A program that has ended.
struct Finished: Sendable {
  let status: Int32
  let output: String
  let errors: String

  static func of(_ program: String, _ arguments: [String], timeout: Double = 30) throws -> Finished {
    try Started(program, arguments).end(within: timeout)
  }
}

/// A program that runs. Its output goes to files: however much it is, nothing waits for a reader.
final class Started {
  private let process = Process()
  private let folder: String
  private let line: String

  init(_ program: String, _ arguments: [String]) throws {
    folder = NSTemporaryDirectory() + "/weft-e2e-\(UUID().uuidString)"
    line = ([program] + arguments).suffix(6).joined(separator: " ")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.environment = TestLab.environment
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try file("output")
    process.standardError = try file("errors")
    try process.run()
  }

  deinit {
    if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    try? FileManager.default.removeItem(atPath: folder)
  }

  private func file(_ name: String) throws -> FileHandle {
    let path = "\(folder)/\(name)"
    try Data().write(to: URL(fileURLWithPath: path))
    return try FileHandle(forWritingTo: URL(fileURLWithPath: path))
  }

  private func text(_ name: String) -> String {
    String(decoding: FileManager.default.contents(atPath: "\(folder)/\(name)") ?? Data(), as: UTF8.self)
  }

  /// What it has printed up to now.
  var output: String { text("output") }

  func terminate() { process.terminate() }

  /// Waits for the end; a program that takes longer is killed, and that is an error.
  func end(within seconds: Double) throws -> Finished {
    let end = Date().addingTimeInterval(seconds)
    while process.isRunning {
      guard Date() < end else {
        kill(process.processIdentifier, SIGKILL)
        throw TestFailure(
          "no end within \(seconds) s: \(line)\n\(text("output").suffix(500))\(text("errors").suffix(500))")
      }
      usleep(3000)
    }
    return Finished(status: process.terminationStatus, output: text("output"), errors: text("errors"))
  }

  /// The facts that it prints at its end.
  func facts(within seconds: Double) throws -> Facts { try Facts(of: end(within: seconds), named: line) }
}

/// A piece of JSON. What is missing is `null`, so that a test reads a path and compares its end.
enum Facts: Sendable, CustomStringConvertible {
  case null
  case text(String)
  case number(Double)
  case bool(Bool)
  case array([Facts])
  case object([String: Facts])

  init(json: String, or failure: @autoclosure () -> String) throws {
    guard let value = try? JSONDecoder().decode(Facts.self, from: Data(json.utf8)) else {
      throw TestFailure("\(failure()): no JSON in \(json.suffix(500).debugDescription)")
    }
    self = value
  }

  init(of done: Finished, named line: String) throws {
    guard done.status == 0 else {
      throw TestFailure("\(line): status \(done.status): \(done.output.suffix(500))\(done.errors.suffix(1500))")
    }
    try self.init(json: done.output, or: line)
  }

  subscript(_ key: String) -> Facts {
    if case .object(let members) = self { members[key] ?? .null } else { .null }
  }

  var text: String? { if case .text(let text) = self { text } else { nil } }
  var int: Int? { if case .number(let number) = self { Int(number) } else { nil } }
  var bool: Bool? { if case .bool(let bool) = self { bool } else { nil } }
  var list: [Facts] { if case .array(let list) = self { list } else { [] } }
  var texts: [String] { list.compactMap(\.text) }
  var members: [String: Facts] { if case .object(let members) = self { members } else { [:] } }

  var description: String {
    switch self {
    case .null: "null"
    case .text(let text): text.debugDescription
    case .number(let number): number == number.rounded() ? "\(Int(number))" : "\(number)"
    case .bool(let bool): "\(bool)"
    case .array(let list): "\(list)"
    case .object(let members): "\(members.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" })"
    }
  }
}

extension Facts: Decodable {
  init(from decoder: any Decoder) throws {
    let value = try decoder.singleValueContainer()
    if value.decodeNil() {
      self = .null
    } else if let bool = try? value.decode(Bool.self) {
      self = .bool(bool)
    } else if let number = try? value.decode(Double.self) {
      self = .number(number)
    } else if let text = try? value.decode(String.self) {
      self = .text(text)
    } else if let list = try? value.decode([Facts].self) {
      self = .array(list)
    } else {
      self = .object(try value.decode([String: Facts].self))
    }
  }
}
