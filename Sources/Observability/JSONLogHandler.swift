import Foundation
import Glibc
import Logging

/// One JSON object a line on standard error: `time` (RFC 3339, UTC), `level`, `program`, `message`, and the
/// metadata.
public struct JSONLogHandler: LogHandler {
  public var metadata: Logger.Metadata = [:]
  public var logLevel: Logger.Level
  private let program: String

  public init(program: String, level: Logger.Level) {
    self.program = program
    logLevel = level
  }

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  public func log(event: LogEvent) {
    let line = Self.line(
      time: Date(), level: event.level, program: program, message: "\(event.message)",
      metadata: metadata.merging(event.metadata ?? [:]) { _, new in new })
    // One write, so that lines of several threads don't mix. A log that can't be written is nobody's to tell.
    _ = line.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }

  package static func line(
    time: Date, level: Logger.Level, program: String, message: String, metadata: Logger.Metadata
  ) -> [UInt8] {
    var text =
      "{\"time\":\(quoted(time.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)))),\"level\":\(quoted(level.rawValue)),"
    text += "\"message\":\(quoted(message)),\"program\":\(quoted(program))"
    for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
      text += ",\(quoted(key)):\(quoted("\(value)"))"
    }
    return Array((text + "}\n").utf8)
  }

  private static func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case "\n": quoted += "\\n"
      case "\r": quoted += "\\r"
      case "\t": quoted += "\\t"
      case "\0"..."\u{1f}":
        let hex = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }
}
