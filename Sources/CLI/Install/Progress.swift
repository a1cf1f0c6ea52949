import Glibc

/// What a long command says meanwhile, on standard output: on a terminal a line that changes, else a line each time.
final class Progress {
  private let isTerminal = isatty(STDOUT_FILENO) == 1
  private let style: Style
  private var last = ""

  init(_ style: Style) { self.style = style }

  /// What is waited for.
  func show(_ text: String) {
    guard text != last else { return }
    last = text
    emit(isTerminal ? "\r\u{1B}[K… \(text)" : "    \(text)\n")
  }

  /// A step that passes too quickly for a line of its own.
  func step(_ text: String) {
    if isTerminal { show(text) }
  }

  /// What is done.
  func done(_ text: String) {
    emit("\(isTerminal ? "\r\u{1B}[K" : "")\(style.success) \(text)\n")
    last = ""
  }

  /// What is left for later.
  func warn(_ text: String) {
    note("\(style.warning) \(text)")
  }

  /// What has failed, or has to be known.
  func note(_ text: String) {
    emit("\(isTerminal ? "\r\u{1B}[K" : "")\(text)\n")
    last = ""
  }

  private func emit(_ text: String) {
    let bytes = Array(text.utf8)
    // Nothing is left to do where standard output can't be written.
    _ = bytes.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
  }
}
