import CLinux
import Foundation

/// Waiting with an end.
enum Waiting {
  static var now: Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  static func sleep(seconds: Double) {
    usleep(UInt32(seconds * 1e6))
  }

  /// Asks until `condition` holds, every 5 to 50 ms; false when `seconds` have passed.
  static func poll(seconds: Double, uninterrupted: Bool, until condition: () throws -> Bool) rethrows -> Bool {
    let end = now + seconds
    var pause = 0.005
    while true {
      if try condition() { return true }
      guard now < end, uninterrupted || weft_lab_interrupt() == 0 else { return false }
      sleep(seconds: pause)
      pause = min(pause * 1.5, 0.05)
    }
  }

  /// The same, ended early by SIGINT or SIGTERM.
  /// - Throws: what `condition` throws, or `LabError` on a signal.
  static func poll(seconds: Double, until condition: () throws -> Bool) throws -> Bool {
    let isTrue = try poll(seconds: seconds, uninterrupted: false, until: condition)
    try checkInterrupt()
    return isTrue
  }

  static func checkInterrupt() throws {
    if weft_lab_interrupt() != 0 { throw LabError("interrupted") }
  }
}
