import CLinux
import Capture
import Dispatch
import Glibc
import MeshModel
import PodNetworking
import Synchronization

/// A connection to a pod's stub: asks it for sockets. What it passes is taken only where it lives in the namespace in which
/// the stub began.
final class StubLink: PodSocketSource {
  /// Seconds for an answer, and for the hello.
  private static let patience = 5.0
  private static let pendingBound = 64

  private struct State {
    var namespace: NetworkNamespace?
    var addresses: [IPAddress] = []
    var pending: [UInt32: (wanted: HandoffMessage.Wanted, continuation: CheckedContinuation<[Int32], any Error>)] = [:]
    var nextID: UInt32 = 1
    var endReason: String?
  }

  let peer: StubPeer
  private let descriptor: Int32
  private let state = Mutex(State())
  // Set once before it is activated; only cancelled then, which any thread may.
  private nonisolated(unsafe) var source: (any DispatchSourceRead)?
  private let appeared: @Sendable (StubLink) async -> Void
  private let gone: @Sendable (StubLink, String) async -> Void

  static func start(
    _ descriptor: Int32, _ peer: StubPeer, appeared: @escaping @Sendable (StubLink) async -> Void,
    gone: @escaping @Sendable (StubLink, String) async -> Void
  ) {
    let link = StubLink(descriptor, peer, appeared, gone)
    let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: DispatchQueue(label: "weft.stub"))
    source.setEventHandler { link.read() }
    source.setCancelHandler { Glibc.close(descriptor) }
    link.source = source
    source.activate()
    Task {
      try? await Task.sleep(for: .seconds(patience))
      if link.namespace == nil { link.close("it said no hello") }
    }
  }

  private init(
    _ descriptor: Int32, _ peer: StubPeer, _ appeared: @escaping @Sendable (StubLink) async -> Void,
    _ gone: @escaping @Sendable (StubLink, String) async -> Void
  ) {
    self.descriptor = descriptor
    self.peer = peer
    self.appeared = appeared
    self.gone = gone
  }

  var isOpen: Bool { state.withLock { $0.endReason == nil } }

  /// The pod's; nil before its hello.
  var namespace: NetworkNamespace? { state.withLock { $0.namespace } }

  /// The IPv4 ones of its namespace at its hello, by the kernel's word.
  var addresses: [IPAddress] { state.withLock { $0.addresses } }

  // MARK: PodSocketSource

  func openListeners() async throws -> [Int32] { try await ask(.listeners) }
  func open(_ kind: PodSocketKind, count: Int) async throws -> [Int32] { try await ask(.sockets(kind, count: count)) }
  func open(_ listener: PodListener) async throws -> Int32 { try await ask(.listener(listener))[0] }

  private func ask(_ wanted: HandoffMessage.Wanted) async throws -> [Int32] {
    try await withCheckedThrowingContinuation { continuation in
      let outcome = state.withLock { state -> Result<UInt32, AgentError> in
        if let reason = state.endReason { return .failure(AgentError("the pod's stub is gone: \(reason)")) }
        guard state.pending.count < Self.pendingBound else {
          return .failure(AgentError("the pod's stub doesn't answer: \(Self.pendingBound) questions wait"))
        }
        let id = state.nextID
        state.nextID &+= 1
        state.pending[id] = (wanted, continuation)
        return .success(id)
      }
      switch outcome {
      case .failure(let error): continuation.resume(throwing: error)
      case .success(let id):
        send(HandoffMessage(.open, wanted: wanted, id: id))
        Task {
          try? await Task.sleep(for: .seconds(Self.patience))
          settle(id, .failure(AgentError("the pod's stub didn't answer within \(Self.patience) s")))
        }
      }
    }
  }

  private func settle(_ id: UInt32, _ result: Result<[Int32], any Error>) {
    state.withLock { $0.pending.removeValue(forKey: id) }?.continuation.resume(with: result)
  }

  // MARK: The connection

  func send(_ operation: HandoffMessage.Operation) { send(HandoffMessage(operation)) }

  private func send(_ message: HandoffMessage) {
    let bytes = message.bytes
    let sent = state.withLock { state in
      state.endReason == nil ? weft_send_with_fds(descriptor, bytes, bytes.count, nil, 0) : bytes.count
    }
    if sent != bytes.count { close("it doesn't read: \(String(cString: strerror(Int32(-sent))))") }
  }

  /// Tells the stub why, and ends the connection.
  func refuse(_ reason: String) {
    send(HandoffMessage(.failed, text: reason))
    close(reason)
  }

  func close(_ reason: String) {
    let waiting = state.withLock { state -> [CheckedContinuation<[Int32], any Error>]? in
      guard state.endReason == nil else { return nil }
      state.endReason = reason
      defer { state.pending = [:] }
      return state.pending.values.map(\.continuation)
    }
    guard let waiting else { return }
    for continuation in waiting { continuation.resume(throwing: AgentError("the pod's stub is gone: \(reason)")) }
    source?.cancel()
    Task { await gone(self, reason) }
  }

  private func read() {
    var buffer = [UInt8](repeating: 0, count: HandoffMessage.maximumBytes)
    var descriptors = [Int32](repeating: -1, count: HandoffMessage.maximumSockets)
    while state.withLock({ $0.endReason == nil }) {
      var count: Int32 = 0
      let length = weft_receive_with_fds(
        descriptor, &buffer, buffer.count, &descriptors, Int32(descriptors.count), &count)
      if length == -Int(EAGAIN) { return }
      if length == -Int(EINTR) { continue }
      let passed = Array(descriptors.prefix(max(0, Int(count))))
      guard length > 0 else { return close(length == 0 ? "it ended" : String(cString: strerror(Int32(-length)))) }
      guard let message = HandoffMessage(buffer[..<length]), take(message, passed) else {
        for fd in passed { Glibc.close(fd) }
        return refuse("that is no message of a stub of this version")
      }
    }
  }

  /// - Returns: false: the descriptors aren't taken.
  private func take(_ message: HandoffMessage, _ passed: [Int32]) -> Bool {
    switch message.operation {
    case .hello: return greeted(passed)
    case .failed:
      guard passed.isEmpty else { return false }
      settle(message.id, .failure(AgentError(String(message.text.prefix(400)))))
      return true
    case .opened:
      guard let wanted = state.withLock({ $0.pending[message.id]?.wanted }) else {
        // Too late: nobody waits any more.
        for fd in passed { Glibc.close(fd) }
        return true
      }
      guard wanted == message.wanted, passed.count == wanted.count, isOwn(passed) else { return false }
      settle(message.id, .success(passed.map(Self.unblocking)))
      return true
    case .open, .captured, .released: return false
    }
  }

  private func greeted(_ passed: [Int32]) -> Bool {
    guard passed.count == 1, namespace == nil, let namespace = try? NetworkNamespace(of: passed[0]) else {
      return false
    }
    let addresses = PodAddresses.reached(by: passed[0])
    Glibc.close(passed[0])
    state.withLock {
      $0.namespace = namespace
      $0.addresses = addresses
    }
    Task { await appeared(self) }
    return true
  }

  /// Whether all are sockets of the stub's own network namespace.
  private func isOwn(_ sockets: [Int32]) -> Bool {
    guard let cookie = namespace?.cookie else { return false }
    return sockets.allSatisfy { NetworkNamespace.cookie(of: $0) == cookie }
  }

  /// As the agent's own are; whatever the stub has set.
  private static func unblocking(_ socket: Int32) -> Int32 {
    _ = fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK)
    return socket
  }
}
