import Glibc
import MeshModel
import ProxyCore

/// The client half: a captured connection to where its application wanted it.
extension Worker {
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
    switch snapshot.route(to: destination, isServedHere: { pods[$0] != nil }) {
    case .refused(let reason):
      log(.info, "\(facts.source) to \(destination) refused: \(reason.rawValue)")
      statistics.refused += 1
      stream.reset()
    case .service(let service):
      guard let traffic = snapshot.traffic(of: service, port: destination.port) else { return stream.reset() }
      facts.service = service.description
      let client = HTTPClient(
        workload: pod.id, identity: source?.identity(in: snapshot.config.trustDomain),
        address: facts.downstreamAddress ?? peer, service: service, port: destination.port,
        family: destination.ip.family)
      serve(stream, traffic, client, facts)
    case .endpoint(let endpoint): dial(stream, endpoint, facts)
    case .passthrough(let address):
      dial(stream, OutboundRoute.Endpoint(address: address, workloadID: "", transport: .plaintext), facts)
    }
  }

  /// As a stream of bytes, to where it is addressed.
  func dial(_ stream: any ByteStream, _ endpoint: OutboundRoute.Endpoint, _ facts: Session.Facts) {
    guard let session = makeSession(facts, downstream: stream) else { return stream.reset() }
    describe(&session.facts, endpoint)
    open(session, to: endpoint) { [unowned self] in give(up: session, .connectFailure, $0.description) }
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

  /// - Parameter detail: in place of the flag's own words.
  func give(up session: Session, _ flag: ResponseFlag, _ detail: String? = nil) {
    guard !session.isClosed else { return }
    statistics.failed += 1
    log(
      .info,
      "\(session.facts.source) to \(session.facts.destination) failed: \(flag.rawValue): \(detail ?? flag.reason)")
    session.refuse()
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

  /// What is known of a connection by the endpoint that it goes to.
  func describe(_ facts: inout Session.Facts, _ endpoint: OutboundRoute.Endpoint) {
    let target = snapshot.workload(id: endpoint.workloadID)
    facts.destinationIdentity =
      target?.isMeshed == true ? target?.identity(in: snapshot.config.trustDomain)?.description ?? "" : ""
    facts.isTLS = false
    facts.isTunnelled = false
    switch endpoint.transport {
    case .delivery: facts.direction = .local
    case .plaintext: facts.direction = .outbound
    case .tunnel:
      facts.direction = .outbound
      facts.isTLS = true
      facts.isTunnelled = true
    }
  }
}
