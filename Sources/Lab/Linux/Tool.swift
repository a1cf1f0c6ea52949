import CLinux
import Foundation

/// A tool of the machine that is fed a script and runs to its end.
struct Tool {
  let name: String
  private let pid: Int32
  private let output: Int32

  /// Starts `name` with `script` as its standard input.
  /// - Parameter networkNamespace: the path of its file; nil: this process's own.
  static func start(
    _ name: String, _ arguments: [String], script: String = "", networkNamespace: String? = nil
  ) throws -> Tool {
    guard let path = Commands.find(name, searchPath: Commands.searchPath, directory: "/") else {
      throw LabError("\(name): isn't on this machine; install it")
    }
    let input = weft_lab_memory_file()
    let output = weft_lab_memory_file()
    guard input >= 0, output >= 0 else { throw LabError("making a file in memory failed: \(Errno.text(errno))") }
    defer { close(input) }
    do {
      try Files.write(Array(script.utf8), to: input, name: "the script of \(name)")
      lseek(input, 0, SEEK_SET)
      var launch = Launch(path: path, arguments: arguments, environment: ["PATH=\(Commands.searchPath)", "LC_ALL=C"])
      launch.standardInput = input
      launch.standardOutput = output
      launch.standardError = output
      launch.isDaemon = false
      launch.networkNamespace = networkNamespace
      return Tool(name: name, pid: try launch.spawn(), output: output)
    } catch {
      close(output)
      throw error
    }
  }

  /// Waits for the end.
  /// - Throws: `LabError` with what the tool printed where its status isn't 0.
  @discardableResult
  func finish() throws -> String {
    defer { close(output) }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 {
      guard errno == EINTR else { throw LabError("\(name): its end can't be awaited: \(Errno.text(errno))") }
    }
    lseek(output, 0, SEEK_SET)
    let text = String(decoding: try Files.read(output, limit: 1 << 20), as: UTF8.self)
    let exit = ProcessEnd(waitStatus: status)
    guard exit == .code(0) else {
      throw LabError("\(name) \(exit): \(text.trimmingCharacters(in: .whitespacesAndNewlines))")
    }
    return text
  }

  @discardableResult
  static func run(
    _ name: String, _ arguments: [String], script: String = "", networkNamespace: String? = nil
  ) throws -> String {
    try start(name, arguments, script: script, networkNamespace: networkNamespace).finish()
  }
}
