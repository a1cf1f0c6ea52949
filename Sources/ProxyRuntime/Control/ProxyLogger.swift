import FoundationEssentials
import Glibc

/// JSON lines on standard error, written by the control thread alone: a reader that stalls holds up no connection.
final class ProxyLogger {
  private struct Line: Encodable {
    let time: String
    let level: String
    let program: String
    let message: String
  }

  private let level: LogLevel
  private let encoder = JSONEncoder()

  init(level: LogLevel) {
    self.level = level
    encoder.outputFormatting = .withoutEscapingSlashes
  }

  func log(_ level: LogLevel, _ message: String) {
    guard level >= self.level else { return }
    let line = Line(time: Self.now(), level: "\(level)", program: "weft-proxy", message: message)
    guard var bytes = try? encoder.encode(line) else { return }
    bytes.append(UInt8(ascii: "\n"))
    bytes.withUnsafeBytes { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }

  /// RFC 3339, UTC, with milliseconds.
  private static func now() -> String {
    Date.now.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
  }
}
