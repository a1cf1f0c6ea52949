import MeshModel

/// One pod's way into the mesh and out of it, as a pure state machine.
///
/// Into: held (its connections refused) as soon as it is known to be meshed; listeners opened in its namespace once its
/// identity is there; handed to the proxy; and only when the proxy serves them is the pod captured, so that no
/// connection is led to where nobody answers. Out: in the reverse order.
public struct PodLifecycle: Sendable {
  public enum Action: Hashable, Sendable {
    case hold
    case openListeners
    case handToProxy
    case capture
    /// Capture first, then the proxy, then the listeners.
    case release
    /// The proxy's hand on the pod, then the listeners; what is held or captured stays so.
    case discardListeners
  }

  public enum Phase: Hashable, Sendable {
    /// Not wanted in the mesh, or not there.
    case outside
    case awaitingIdentity
    case opening
    case awaitingProxy
    case enrolled
    case failed(String)
  }

  public private(set) var phase = Phase.outside
  private var isWanted = false
  private var hasIdentity = false
  private var failures = 0
  private var retryAt: UInt64 = 0

  public init() {}

  /// What discovery, the pod source and the CA say together.
  public mutating func set(wanted: Bool, hasIdentity: Bool) -> [Action] {
    self.hasIdentity = hasIdentity
    guard wanted != isWanted else { return advance() }
    isWanted = wanted
    if wanted {
      phase = .awaitingIdentity
      return [.hold] + advance()
    }
    // Listeners that are being opened are discarded when they come.
    phase = .outside
    failures = 0
    return [.release]
  }

  private mutating func advance() -> [Action] {
    guard phase == .awaitingIdentity, hasIdentity else { return [] }
    phase = .opening
    return [.openListeners]
  }

  public mutating func listenersOpened() -> [Action] {
    guard phase == .opening else { return [.discardListeners] }
    phase = .awaitingProxy
    return [.handToProxy]
  }

  /// The proxy says that it serves the pod.
  public mutating func proxyReady() -> [Action] {
    guard phase == .awaitingProxy else { return [] }
    phase = .enrolled
    failures = 0
    return [.capture]
  }

  /// A step failed; it is tried again, later each time: 0.2 s to 10 s (in nanoseconds of `now`'s clock).
  public mutating func failed(_ reason: String, now: UInt64) -> [Action] {
    guard isWanted else { return [] }
    phase = .failed(reason)
    retryAt = now + min(10_000_000_000, 200_000_000 << UInt64(min(failures, 6)))
    failures += 1
    // Held before anything is let go: at no moment does a connection pass in plaintext.
    return [.hold, .discardListeners]
  }

  /// Held once more: the step that failed may have been that.
  public mutating func tick(now: UInt64) -> [Action] {
    guard case .failed = phase, now >= retryAt else { return [] }
    phase = .awaitingIdentity
    return [.hold] + advance()
  }

  /// Not even the hold after a failure could be done.
  public mutating func holdFailed(_ reason: String) {
    guard case .failed(let failure) = phase else { return }
    phase = .failed(failure == reason ? "can't be held: \(reason)" : "\(failure); and can't be held: \(reason)")
  }

  /// The name of the state in the admin API.
  public var name: String {
    switch phase {
    case .outside: "unmeshed"
    case .awaitingIdentity, .opening, .awaitingProxy: "pending"
    case .enrolled: "enrolled"
    case .failed: "failed"
    }
  }

  public var reason: String {
    switch phase {
    case .awaitingIdentity: "waits for its certificate"
    case .opening: "its listeners are being opened"
    case .awaitingProxy: "waits for the proxy"
    case .failed(let reason): reason
    case .outside, .enrolled: ""
    }
  }
}
