import Glibc
import StubCore

/// JSON lines on standard error. Bounded: of warnings more than 20 a second are counted and not written.
final class Log {
  enum Level: String { case debug, info, warning, error }

  private var second: Int64 = 0
  private var written = 0
  private var left = 0

  func write(_ level: Level, _ message: @autoclosure () -> String) {
    let now = Loop.wallClock()
    if now != second {
      second = now
      written = 0
    }
    guard written < 20 || level == .error else {
      left += 1
      return
    }
    written += 1
    var line = JSONText()
    line.set("time", utcText(now))
    line.set("level", level.rawValue)
    line.set("program", "weft-stub")
    line.set("message", message())
    if left > 0 { line.set("left_out", left) }
    left = 0
    let text = line.text + "\n"
    _ = text.utf8.withContiguousStorageIfAvailable { Glibc.write(2, $0.baseAddress, $0.count) }
  }
}
