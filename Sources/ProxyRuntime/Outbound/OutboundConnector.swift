import Glibc
import MeshModel
import ProxyCore

/// The client half: a captured connection to where its application wanted it.
extension Worker {
  static let attempts = 3

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
    if let service = snapshot.service(at: destination.ip),
      let traffic = snapshot.traffic(of: service.key, port: destination.port)
    {
      facts.service = service.key.description
      let client = HTTPClient(
        workload: pod.id, identity: source?.identity(in: snapshot.config.trustDomain),
        address: facts.downstreamAddress ?? peer, service: service.key, port: destination.port,
        family: destination.ip.family)
      return serve(stream, traffic, client, facts)
    }
    route(stream, to: destination, facts)
  }

  /// As a stream of bytes, to where it is addressed.
  private func route(_ stream: any ByteStream, to destination: SocketAddress, _ facts: Session.Facts) {
    var facts = facts
    switch snapshot.route(to: destination, isServedHere: { pods[$0] != nil }) {
    case .refused(let reason):
      log(.info, "\(facts.source) to \(destination) refused: \(reason.rawValue)")
      statistics.refused += 1
      stream.reset()
    case .passthrough(let address):
      guard let session = makeSession(facts, downstream: stream) else { return stream.reset() }
      let endpoint = OutboundRoute.Endpoint(address: address, workloadID: "", transport: .plaintext)
      open(session, to: endpoint) { [unowned self] in give(up: session, $0) }
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
  /// - Parameter client: the address that decides; nil: the balancer does.
  func dial(
    _ session: Session, among endpoints: [OutboundRoute.Endpoint], attemptsLeft: Int, boundTo client: IPAddress? = nil
  ) {
    let addresses = endpoints.map(\.address)
    let bound = client.flatMap { ClientAffinity.choose(from: addresses, for: $0) }
    guard let choice = bound ?? balancer.choose(from: addresses, using: &loop.random) else {
      return give(up: session, .tunnel("no endpoint answered"))
    }
    let endpoint = endpoints[choice]
    balancer.opened(endpoint.address)
    session.onClose { [unowned self] in balancer.closed(endpoint.address) }
    let target = snapshot.workload(id: endpoint.workloadID)
    session.facts.destinationIdentity =
      target?.isMeshed == true ? target?.identity(in: snapshot.config.trustDomain)?.description ?? "" : ""
    switch endpoint.transport {
    case .delivery: session.facts.direction = .local
    case .plaintext: break
    case .tunnel:
      session.facts.isTLS = true
      session.facts.isTunnelled = true
    }
    open(session, to: endpoint) { [unowned self] failure in
      var others = endpoints
      others.remove(at: choice)
      guard attemptsLeft > 1, !others.isEmpty else { return give(up: session, failure) }
      session.runOnClose()
      dial(session, among: others, attemptsLeft: attemptsLeft - 1, boundTo: client)
    }
  }

  /// - Parameters:
  ///   - established: called before the first byte moves.
  ///   - failed: not called after the session's end.
  func open(
    _ session: Session, to endpoint: OutboundRoute.Endpoint, established: @escaping () -> Void = {},
    failed: @escaping (StreamFailure) -> Void
  ) {
    session.facts.upstreamAddress = endpoint.address
    let target = StreamTarget(
      source: session.facts.workload, client: session.facts.downstreamAddress, endpoint: endpoint,
      timeout: session.connectTimeout)
    let opening = open(target) { [unowned self] result in
      switch result {
      case .success(let stream):
        statistics.established += 1
        session.establish(stream)
        established()
      case .failure(let failure): if !session.isClosed { failed(failure) }
      }
    }
    // Where it failed at once, another endpoint's attempt may be running already.
    if !opening.isSettled { session.opening = opening }
  }
}
