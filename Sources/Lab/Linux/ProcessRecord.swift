import Foundation

/// A process that can't be mistaken for a later one with the same number.
public struct ProcessRecord: Codable, Sendable, Hashable {
  public var pid: Int32
  /// Clock ticks after boot: field 22 of /proc/PID/stat (proc(5)).
  public var startTime: UInt64

  /// nil where there is no such process any more.
  init?(pid: Int32) {
    guard let fields = Self.fields(pid), let startTime = UInt64(fields[19]) else { return nil }
    self.pid = pid
    self.startTime = startTime
  }

  /// Whether it still runs; an unreaped one doesn't.
  public var isRunning: Bool {
    guard let fields = Self.fields(pid), UInt64(fields[19]) == startTime else { return false }
    return fields[0] != "Z" && fields[0] != "X"
  }

  /// Sends a signal to this process and never to another one.
  func signal(_ number: Int32) {
    if isRunning { kill(pid, number) }
  }

  /// Whether it ended within `seconds`.
  func waitForEnd(seconds: Double) -> Bool {
    Waiting.poll(seconds: seconds, uninterrupted: true) {
      reap()
      return !isRunning
    }
  }

  /// Takes the exit status where this is a child of ours; nil while it runs, or where it is none.
  @discardableResult
  func reap() -> ProcessEnd? {
    var status: Int32 = 0
    return waitpid(pid, &status, WNOHANG) == pid ? ProcessEnd(waitStatus: status) : nil
  }

  /// The fields after the command's name, from `state` on.
  private static func fields(_ pid: Int32) -> [Substring]? {
    guard let text = Files.text("/proc/\(pid)/stat", limit: 4096), let end = text.lastIndex(of: ")") else { return nil }
    let fields = text[text.index(after: end)...].split(separator: " ")
    return fields.count >= 20 ? fields : nil
  }
}

/// How a process ended.
public enum ProcessEnd: Sendable, Hashable, CustomStringConvertible {
  case code(Int32)
  case signal(Int32)

  init(waitStatus: Int32) {
    let signal = waitStatus & 0x7f
    self = signal == 0 ? .code(waitStatus >> 8 & 0xff) : .signal(signal)
  }

  /// What a shell would show: 128 + the signal's number.
  public var shellCode: Int32 {
    switch self {
    case .code(let code): code
    case .signal(let number): 128 + number
    }
  }

  public var description: String {
    switch self {
    case .code(let code): "ended with status \(code)"
    case .signal(let number): "was killed by signal \(number)"
    }
  }
}
