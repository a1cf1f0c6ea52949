import Glibc
import ProxyCore

/// One side of a session: a TCP socket, or a stream inside a tunnel. Lives on its loop's thread.
///
/// Reading starts paused. Every call after `close` or `reset` does nothing.
protocol ByteStream: AnyObject {
  /// Set before the first event; taken away by `close` and `reset`.
  var owner: (any StreamOwner)? { get set }
  var side: RelayState.Side { get set }
  /// Bytes written could not leave yet: whoever feeds this stream has to stop until `unblocked`.
  var isBlocked: Bool { get }
  /// The peer ends what carries it: it shouldn't be kept for later use.
  var isLeaving: Bool { get }

  /// Takes all bytes, keeping what can't leave now. Bounded by the feeder's obeying `isBlocked`.
  func write(_ bytes: UnsafeRawBufferPointer)
  /// Ends this direction after what is unwritten; `finished` tells when.
  func finish()
  func pause()
  func resume()
  /// Both directions are done.
  func close()
  /// Drops everything: the peer sees a reset.
  func reset()
}

/// Who is told what happens on a stream.
protocol StreamOwner: AnyObject {
  /// `bytes` are valid during the call only.
  func received(_ bytes: UnsafeRawBufferPointer, from side: RelayState.Side)
  func ended(_ side: RelayState.Side)
  func finished(_ side: RelayState.Side)
  func unblocked(_ side: RelayState.Side)
  func failed(_ side: RelayState.Side, _ failure: StreamFailure)
}

/// Why a stream broke, or could not be opened.
enum StreamFailure: Error, Hashable {
  case reset
  case system(Int32)
  case timeout
  case tunnel(String)
  /// The tunnel has gone, or has refused the stream unseen: no byte has reached an application, and it may be opened again.
  case unanswered(String)
  case noSockets

  var description: String {
    switch self {
    case .reset: "reset by peer"
    case .system(let code): String(cString: strerror(code))
    case .timeout: "timed out"
    case .tunnel(let reason), .unanswered(let reason): reason
    case .noSockets: "no socket inside the pod's namespace"
    }
  }
}
