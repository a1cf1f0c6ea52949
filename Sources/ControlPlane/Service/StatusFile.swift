import Identity
import Logging

/// Keeps a file equal to what is reported: written whole and moved into place, at most five times a second, and for
/// a tenth of the time however large the mesh is.
final class StatusFile: Sendable {
  private let path: String
  private let logger: Logger
  private let report: @Sendable () -> StatusReport
  private let (signals, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))

  init(path: String, logger: Logger, report: @escaping @Sendable () -> StatusReport) {
    self.path = path
    self.logger = logger
    self.report = report
  }

  /// Says that the report may have changed.
  func touch() { continuation.yield() }

  /// Writes until the task is cancelled.
  func run() async {
    var last: StatusReport?
    for await _ in signals {
      let start = ContinuousClock.now
      let report = report()
      if report != last { last = write(report) ? report : nil }
      let pause = max(.milliseconds(200), (ContinuousClock.now - start) * 9)
      do { try await Task.sleep(for: pause) } catch { return }
    }
  }

  /// Writes now; on a full disk the old file stays, and the log says so.
  @discardableResult
  func write(_ report: StatusReport) -> Bool {
    do {
      try SecureFile.write([report.json()], to: path, replacing: true, mode: 0o644)
      return true
    } catch {
      logger.error("\(error)")
      return false
    }
  }

  func writeNow() { write(report()) }
}
