import Foundation
import Logging

/// Log lines as JSON on standard error, with times in RFC 3339, UTC.
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
    var line = metadata.merging(event.metadata ?? [:]) { $1 }.mapValues { "\($0)" }
    line["time"] = Date.now.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    line["level"] = event.level.rawValue
    line["program"] = program
    line["message"] = "\(event.message)"
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
    guard var bytes = try? encoder.encode(line) else { return }
    bytes.append(UInt8(ascii: "\n"))
    FileHandle.standardError.write(bytes)
  }
}
