/// What a command in a container wrote, and how it ended.
public struct ExecOutcome: Hashable, Sendable {
  public var output: [UInt8]
  /// The first bytes of standard error.
  public var errors: [UInt8]
  /// The exit status.
  public var status: Int

  public init(output: [UInt8], errors: [UInt8], status: Int) {
    self.output = output
    self.errors = errors
    self.status = status
  }
}

/// Why a command's outcome isn't known.
public enum ExecError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The API server didn't lead to the container: no such pod, no right (`get` and `create` of `pods/exec`), no kubelet.
  case api(KubernetesError)
  /// The kubelet didn't run it: no such program, no such container.
  case notRun(String)
  /// Seconds.
  case timeout(Int)
  /// Bytes.
  case tooLong(Int)
  /// What came over the connection is no answer of this protocol, or it broke off.
  case broken(String)

  public var description: String {
    switch self {
    case .api(let error): error.description
    case .notRun(let reason): "the command wasn't run: \(reason)"
    case .timeout(let seconds): "the command didn't end within \(seconds) s"
    case .tooLong(let bytes): "the command wrote more than \(bytes) bytes"
    case .broken(let reason): "the connection to the command broke: \(reason)"
    }
  }
}
