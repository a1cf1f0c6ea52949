import MeshModel

/// Faults that a policy asks for: each is drawn by itself, so that a request may be delayed and then aborted.
public struct FaultInjector: Sendable {
  public enum Abort: Sendable, Hashable {
    case status(UInt16)
    case grpc(UInt8)
  }

  /// Neither: the request goes on as it is.
  public struct Injection: Sendable, Hashable {
    /// Nanoseconds; of several delays the longest.
    public var delay: NanoTime = 0
    /// Of several the first.
    public var abort: Abort?

    public init(delay: NanoTime = 0, abort: Abort? = nil) {
      self.delay = delay
      self.abort = abort
    }
  }

  public let faults: [Fault]

  public init(_ faults: [Fault]) { self.faults = faults }

  /// - Parameter matches: whether the request has what the fault at that index asks of its headers; called for faults
  ///   with a condition only.
  public func draw(
    random: inout some RandomNumberGenerator, matches: (_ index: Int) -> Bool
  ) -> Injection {
    var injection = Injection()
    for index in faults.indices {
      guard faults[index].header == nil || matches(index),
        UInt32.random(in: 0..<10_000, using: &random) < faults[index].perTenThousand
      else { continue }
      switch faults[index].effect {
      case .delay(let time): injection.delay = max(injection.delay, .milliseconds(UInt64(time)))
      case .abort(let status): injection.abort = injection.abort ?? .status(status)
      case .abortGRPC(let status): injection.abort = injection.abort ?? .grpc(status)
      }
    }
    return injection
  }
}
