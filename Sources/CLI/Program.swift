import ArgumentParser
import Glibc

/// The program: arguments in, text and an exit status out.
public enum Program {
  /// Parses the arguments (without the program's own name), asks the agent, prints.
  public static func run(_ arguments: [String]) async -> Int32 {
    do {
      var command = try Weft.parseAsRoot(arguments)
      guard let command = command as? any ResultCommand else {
        try command.run()
        return ExitStatus.fine.rawValue
      }
      let result = try await command.execute()
      print(result.text, terminator: result.text.hasSuffix("\n") ? "" : "\n")
      return result.status.rawValue
    } catch let failure as Failure {
      printError("weft: \(failure.message)")
      return failure.status.rawValue
    } catch {
      let isRequestedHelp = Weft.exitCode(for: error) == .success
      let message = Weft.fullMessage(for: error)
      if isRequestedHelp { print(message) } else { printError(message) }
      return (isRequestedHelp ? ExitStatus.fine : .usage).rawValue
    }
  }

  private static func printError(_ message: String) {
    let line = Array((message + "\n").utf8)
    // Nothing is left to do where standard error can't be written.
    _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
