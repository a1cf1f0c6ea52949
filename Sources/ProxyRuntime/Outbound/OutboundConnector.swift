import Glibc
import MeshModel
import ProxyCore

/// The client half: a captured connection to where its application wanted it.
extension Worker {
  /// For one attempt; another endpoint is tried after it.
  private static let connectTimeout: NanoTime = .seconds(5)
  /// Inside a pod an answer takes microseconds.
  private static let loopbackTimeout: NanoTime = .milliseconds(200)
  private static let attempts = 3

  func acceptOutbound(_ fd: Int32, _ peer: SocketAddress, pod: PodContext) {
    guard let destination = CaptureOptions.originalDestination(fd) else {
      // Somebody inside the pod dialled the proxy's port itself.
      log(.debug, "\(pod.id): a connection to port \(MeshPort.outbound) that was not captured is refused")
      statistics.refused += 1
      return Socket.closeByReset(fd)
    }
    guard let stream = accept(fd) else { return }
    var facts = Session.Facts(direction: .outbound, workload: pod.id)
    facts.source = pod.id
    facts.destination = destination.description
    let source = snapshot.workload(id: pod.id)
    facts.sourceIdentity = source?.identity(in: snapshot.config.trustDomain)?.description ?? ""
    // The application's own address: capture has led its socket over the loopback.
    facts.downstreamAddress = SocketAddress(
      source?.addresses.first { $0.family == destination.ip.family } ?? peer.ip, peer.port)
    if destination.port == 53 { return serveDNS(over: stream, from: pod, server: destination) }
    let route = snapshot.route(to: destination) { pods[$0] != nil }
    switch route {
    case .refused(let reason):
      log(.info, "\(pod.id) to \(destination) refused: \(reason.rawValue)")
      statistics.refused += 1
      stream.reset()
    case .passthrough(let address):
      guard let session = makeSession(facts, downstream: stream) else { return stream.reset() }
      connect(session, over: pod.pool(.egress(address.ip)), to: address) { [unowned self] failure in
        if let failure { give(up: session, failure) }
      }
    case .endpoints(let endpoints, let service):
      facts.service = service?.description ?? ""
      guard let session = makeSession(facts, downstream: stream) else { return stream.reset() }
      dial(session, among: endpoints, attemptsLeft: Self.attempts)
    }
  }

  /// Wraps an accepted socket; closes it where that fails.
  func accept(_ fd: Int32) -> TCPStream? {
    Socket.setNoDelay(fd)
    do {
      return try TCPStream(fd: fd, loop: loop)
    } catch {
      log(.error, "\(error)")
      Socket.closeByReset(fd)
      return nil
    }
  }

  func give(up session: Session, _ failure: StreamFailure) {
    guard !session.isClosed else { return }
    statistics.failed += 1
    log(.info, "\(session.facts.source) to \(session.facts.destination) failed: \(failure.description)")
    session.refuse()
  }

  /// Chooses an endpoint and connects; on failure tries the others, a bounded number of times.
  func dial(_ session: Session, among endpoints: [OutboundRoute.Endpoint], attemptsLeft: Int) {
    guard let choice = balancer.choose(from: endpoints.map(\.address), using: &loop.random) else {
      return give(up: session, .tunnel("no endpoint answered"))
    }
    let endpoint = endpoints[choice]
    balancer.opened(endpoint.address)
    session.onClose { [unowned self] in balancer.closed(endpoint.address) }
    let completed: (StreamFailure?) -> Void = { [unowned self] failure in
      guard let failure, !session.isClosed else { return }
      var others = endpoints
      others.remove(at: choice)
      session.endAttempt()
      guard attemptsLeft > 1, !others.isEmpty else { return give(up: session, failure) }
      session.runOnClose()
      dial(session, among: others, attemptsLeft: attemptsLeft - 1)
    }
    let target = snapshot.workload(id: endpoint.workloadID)
    session.facts.upstreamAddress = endpoint.address
    session.facts.destinationIdentity =
      target?.isMeshed == true ? target?.identity(in: snapshot.config.trustDomain)?.description ?? "" : ""
    switch endpoint.transport {
    case .delivery:
      session.facts.direction = .local
      deliver(session, to: endpoint.address, pod: pods[endpoint.workloadID], completed)
    case .plaintext:
      let pool = pods[session.facts.workload]?.pool(.egress(endpoint.address.ip))
      connect(session, over: pool, to: endpoint.address, completed)
    case .tunnel(let expected):
      session.facts.isTLS = true
      session.facts.isTunnelled = true
      tunnel(session, to: endpoint.address, expected: expected, completed)
    }
  }

  private func tunnel(
    _ session: Session, to address: SocketAddress, expected: SPIFFEID, _ completed: @escaping (StreamFailure?) -> Void
  ) {
    let request = HBONERequest(
      authority: address.description, client: session.facts.downstreamAddress?.description ?? "")
    let key = TunnelPool.Key(source: session.facts.workload, destination: address.ip)
    var isSettled = false
    let cancel = tunnels.open(request, key: key, expected: expected) { [unowned self] result in
      isSettled = true
      switch result {
      case .success(let stream):
        statistics.established += 1
        session.establish(stream)
        completed(nil)
      case .failure(let failure): completed(failure)
      }
    }
    // Where it failed at once, another endpoint's attempt may be running already.
    if !isSettled {
      session.attempting(timeout: Self.connectTimeout, cancel: cancel)
    }
  }

  /// To an application of this node, in its own namespace, under its client's address.
  func deliver(
    _ session: Session, to address: SocketAddress, pod: PodContext?, _ completed: @escaping (StreamFailure?) -> Void
  ) {
    let client = session.facts.downstreamAddress
    let pool = pod?.pool(.delivery(address.ip))
    guard address.ip.family == .v6 else {
      return connect(session, over: pool, to: address, client: client, completed)
    }
    // A closed port's RST to ::1 doesn't arrive: the kernel looks for a route by the device that holds the pod's address
    // (RFC 4007 scoping). Silence therefore means "refused" or "busy", and a socket that leaves from the pod's own
    // address learns which.
    connect(session, over: pool, to: address, client: client, timeout: Self.loopbackTimeout) {
      [unowned self] failure in
      guard case .timeout? = failure, !session.isClosed else { return completed(failure) }
      connect(session, over: pod?.pool(.egress(address.ip)), to: address, client: client, completed)
    }
  }

  /// - Parameter completed: called once, with nil when the session is established; not after the session's end.
  func connect(
    _ session: Session, over pool: SocketPool?, to address: SocketAddress, client: SocketAddress? = nil,
    timeout: NanoTime = Worker.connectTimeout, _ completed: @escaping (StreamFailure?) -> Void
  ) {
    guard let pool else { return completed(.noSockets) }
    session.facts.upstreamAddress = address
    pool.take(now: loop.now) { [unowned self] fd in
      guard let fd else { return completed(.noSockets) }
      guard !session.isClosed else { return pool.giveBack(fd) }
      if let client { CaptureOptions.setClientAddress(fd, client) }
      if case .failed(let code) = Socket.connect(fd, to: address) {
        pool.giveBack(fd)
        return completed(.system(code))
      }
      start(fd, session, pool, timeout, completed)
    }
  }

  private func start(
    _ fd: Int32, _ session: Session, _ pool: SocketPool, _ timeout: NanoTime,
    _ completed: @escaping (StreamFailure?) -> Void
  ) {
    var upstream: TCPStream?
    do {
      upstream = try TCPStream(fd: fd, loop: loop, pool: pool) { [unowned self] failure in
        let stream = upstream
        upstream = nil
        guard failure == nil, let stream else { return completed(failure) }
        statistics.established += 1
        session.establish(stream)
        completed(nil)
      }
    } catch {
      close(fd)
      return completed(.system(error.code))
    }
    session.attempting(timeout: timeout) {
      guard let stream = upstream else { return }
      upstream = nil
      stream.reset()
      completed(.timeout)
    }
  }
}
