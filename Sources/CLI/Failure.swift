/// Why a command ends without its output: a sentence for people and the program's exit status.
struct Failure: Error, Equatable {
  var message: String
  var status: ExitStatus
}

/// What the program's exit status says.
public enum ExitStatus: Int32, Sendable {
  case fine = 0
  /// A check failed, or something is unhealthy.
  case unhealthy = 1
  case usage = 2
  /// No answer from the agent.
  case unreachable = 3
}
