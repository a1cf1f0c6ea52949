/// Tells when a pod's application has ended, by the processes of the PID namespace that it shares with the stub. Asked once a
/// second.
public struct ApplicationWatch {
  /// Between two containers of a pod there may be an instant without a process.
  static let patience = 3

  private var hasBegun = false
  /// Something ran that may be the application's: it counts unless it shows within a second to be a program of the stub's.
  private var isPending = false
  private var missing = 0
  /// The number of the process that was made last.
  private var last: Int?

  public init() {}

  /// A program of the stub's own (`weft-stub wait`) is connected: it, and what a container runtime made before it, are known.
  /// - Parameter lastProcess: see `hasEnded`.
  public mutating func asked(lastProcess: Int) {
    last = lastProcess
    isPending = false
  }

  /// - Parameters:
  ///   - others: the processes besides the stub's.
  ///   - lastProcess: the number of the process that was made last, which tells of one that has come and gone since; always the
  ///     same where the kernel doesn't say.
  public mutating func hasEnded(others: Int, lastProcess: Int) -> Bool {
    let hasNews = others > 0 || lastProcess != (last ?? lastProcess)
    if last == nil { last = lastProcess }
    if !hasBegun {
      hasBegun = isPending && hasNews
      isPending = hasNews
    }
    missing = others > 0 || !hasBegun ? 0 : missing + 1
    return missing >= Self.patience
  }
}
