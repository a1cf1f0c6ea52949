import Foundation

/// What the lab is at, on standard error: one line that is overwritten on a terminal, lines elsewhere.
public final class Progress {
  private let isTerminal = isatty(STDERR_FILENO) != 0
  private let isQuiet: Bool
  private let start = Waiting.now

  public init(isQuiet: Bool = false) {
    self.isQuiet = isQuiet
  }

  func step(_ text: String) {
    guard !isQuiet else { return }
    let seconds = String(format: "%5.2f s", Waiting.now - start)
    write(isTerminal ? "\r\u{1b}[K\(seconds)  \(text) …" : "\(seconds)  \(text)\n")
  }

  /// Clears the line.
  func end() {
    if isTerminal, !isQuiet { write("\r\u{1b}[K") }
  }

  func note(_ text: String) {
    end()
    write("weft-lab: \(text)\n")
  }

  private func write(_ text: String) {
    FileHandle.standardError.write(Data(text.utf8))
  }
}
