import Glibc
import MeshModel
import ProxyCore

/// A client's tunnels: one group for each (source workload, destination workload), so that the peer sees the source's
/// own address and identity.
final class TunnelPool {
  struct Key: Hashable {
    let source: String
    let destination: IPAddress
  }

  /// Idle tunnels are closed after this time.
  static let idleTimeout: NanoTime = .seconds(300)
  private static let groupsBound = 65_536

  private var groups: [Key: TunnelGroup] = [:]
  private unowned let worker: Worker

  init(worker: Worker) { self.worker = worker }

  /// Opens a stream to `request.authority` at the workload that must show `expected`; returns how to cancel it: then
  /// `completion` is not called.
  func open(
    _ request: HBONERequest, key: Key, expected: SPIFFEID,
    completion: @escaping (Result<TunnelStream, StreamFailure>) -> Void
  ) -> () -> Void {
    let group: TunnelGroup
    if let known = groups[key], known.expected == expected {
      group = known
    } else {
      groups[key]?.drain()
      guard groups.count < Self.groupsBound else {
        completion(.failure(.tunnel("too many tunnels")))
        return {}
      }
      group = TunnelGroup(key: key, expected: expected, worker: worker)
      groups[key] = group
    }
    return group.open(request, completion: completion)
  }

  /// Lets the tunnels of a removed pod go, or all.
  func drain(source: String? = nil) {
    for (key, group) in groups where source == nil || key.source == source {
      groups[key] = nil
      group.drain()
    }
  }

  func sweep(now: NanoTime) {
    for (key, group) in groups where group.sweep(now: now) { groups[key] = nil }
  }

  var tunnelCount: Int { groups.values.reduce(0) { $0 + $1.count } }
}

/// The tunnels to one destination from one source.
final class TunnelGroup: TunnelDelegate {
  private static let tunnelsBound = 16
  private static let waitingBound = 4096
  /// How often a stream is opened that no peer answers.
  private static let attemptsBound = 3

  private final class Opening {
    let request: HBONERequest
    let completion: (Result<TunnelStream, StreamFailure>) -> Void
    var isCancelled = false
    var attempts = 0
    /// Where it was sent.
    var placed: (tunnel: TunnelConnection, stream: UInt32)?

    init(_ request: HBONERequest, _ completion: @escaping (Result<TunnelStream, StreamFailure>) -> Void) {
      self.request = request
      self.completion = completion
    }
  }

  let expected: SPIFFEID
  private let key: TunnelPool.Key
  private unowned let worker: Worker
  private var tunnels: [TunnelConnection] = []
  private var waiting: [Opening] = []
  private var isConnecting = false
  private var isDraining = false

  init(key: TunnelPool.Key, expected: SPIFFEID, worker: Worker) {
    self.key = key
    self.expected = expected
    self.worker = worker
  }

  var count: Int { tunnels.count }

  func open(
    _ request: HBONERequest, completion: @escaping (Result<TunnelStream, StreamFailure>) -> Void
  ) -> () -> Void {
    let opening = Opening(request, completion)
    if !place(opening) {
      guard waiting.count < Self.waitingBound else {
        completion(.failure(.tunnel("too many streams wait for a tunnel")))
        return {}
      }
      waiting.append(opening)
      connect()
    }
    return { [weak self] in
      opening.isCancelled = true
      if let placed = opening.placed {
        placed.tunnel.cancel(placed.stream)
      } else {
        self?.waiting.removeAll { $0 === opening }
      }
    }
  }

  private func place(_ opening: Opening) -> Bool {
    for tunnel in tunnels where tunnel.acceptsStreams {
      let stream = tunnel.open(opening.request) { [weak self] result in
        guard let self else { return opening.completion(result) }
        answered(opening, result)
      }
      guard let stream else { continue }
      opening.placed = (tunnel, stream)
      opening.attempts += 1
      return true
    }
    return false
  }

  /// What no peer has looked at is opened elsewhere: a proxy that is replaced loses nobody's connection.
  private func answered(_ opening: Opening, _ result: Result<TunnelStream, StreamFailure>) {
    guard case .failure(.unanswered) = result, !isDraining, opening.attempts < Self.attemptsBound,
      waiting.count < Self.waitingBound
    else { return opening.completion(result) }
    opening.placed = nil
    waiting.append(opening)
    connect()
  }

  private func placeWaiting() {
    var left: [Opening] = []
    for opening in waiting where !opening.isCancelled {
      if !place(opening) { left.append(opening) }
    }
    waiting = left
    if !waiting.isEmpty { connect() }
  }

  private func connect() {
    guard !isConnecting, !isDraining, tunnels.count < Self.tunnelsBound else { return }
    guard let pod = worker.pods[key.source], let identity = worker.identity(of: key.source) else {
      return failWaiting("no certificate yet for \(key.source)")
    }
    isConnecting = true
    let peer = SocketAddress(key.destination, MeshPort.hbone)
    let pool = pod.pool(peer.ip.family == .v4 ? .egressV4 : .egressV6)
    pool.take(now: worker.loop.now) { [weak self] fd in
      guard let self else {
        if let fd { close(fd) }
        return
      }
      guard let fd else {
        isConnecting = false
        return failWaiting(StreamFailure.noSockets.description)
      }
      start(fd, peer: peer, identity: identity)
    }
  }

  private func start(_ fd: Int32, peer: SocketAddress, identity: TLSIdentity) {
    if case .failed(let code) = Socket.connect(fd, to: peer) {
      close(fd)
      isConnecting = false
      return failWaiting("can't connect to \(peer): \(String(cString: strerror(code)))")
    }
    do {
      tunnels.append(
        try TunnelConnection(fd: fd, peer: peer, role: .client, identity: identity, loop: worker.loop, delegate: self))
    } catch {
      close(fd)
      isConnecting = false
      failWaiting("\(error)")
    }
  }

  private func failWaiting(_ reason: String) {
    let failed = waiting
    waiting = []
    for opening in failed where !opening.isCancelled { opening.completion(.failure(.tunnel(reason))) }
  }

  func drain() {
    isDraining = true
    failWaiting("the tunnels to \(key.destination) are closing")
    // A tunnel with streams leaves by tunnelClosed; it holds this group until then.
    for tunnel in Array(tunnels) { tunnel.drain() }
    if !tunnels.isEmpty { worker.keepAlive(self) }
  }

  /// true where nothing is left of it.
  func sweep(now: NanoTime) -> Bool {
    for tunnel in Array(tunnels)
    where tunnel.isOpen && tunnel.streamCount == 0 && now > tunnel.lastActive + TunnelPool.idleTimeout {
      tunnel.close("idle")
    }
    return tunnels.isEmpty && waiting.isEmpty && !isConnecting
  }

  // MARK: TunnelDelegate

  func tunnel(_ tunnel: TunnelConnection, judge peerURI: String?) -> String? {
    peerURI == expected.description
      ? nil : "expected \(expected) at \(tunnel.peer), and its certificate says \(peerURI ?? "no single URI")"
  }

  func tunnelOpened(_ tunnel: TunnelConnection) {
    isConnecting = false
    placeWaiting()
  }

  func tunnelChanged(_ tunnel: TunnelConnection) {
    if isDraining, tunnel.streamCount == 0 { return tunnel.close("drained") }
    if !waiting.isEmpty { placeWaiting() }
  }

  func tunnel(_ tunnel: TunnelConnection, request: HBONERequest, stream: TunnelStream) {
    // A server's streams: a client's state machine never yields one.
  }

  func tunnelClosed(_ tunnel: TunnelConnection, reason: String) {
    tunnels.removeAll { $0 === tunnel }
    if tunnels.isEmpty { worker.release(self) }
    let wasConnecting = isConnecting && tunnel.peerURI.isEmpty
    if wasConnecting {
      isConnecting = false
      worker.statistics.tunnelFailures += 1
      worker.log(.warning, "tunnel from \(key.source) to \(tunnel.peer) failed: \(reason)")
      failWaiting(reason)
    } else {
      placeWaiting()
    }
  }
}
