import Glibc
import MeshModel
import ProxyCore

/// The server half: plaintext and tunnels that arrive at a pod, delivered to its application.
extension Worker {
  /// Plaintext from outside, led here by sk_lookup whatever its port.
  func acceptPlaintext(_ fd: Int32, _ peer: SocketAddress, pod: PodContext) {
    guard let target = Socket.localAddress(fd), snapshot.mayDeliver(to: target, of: pod.id) else {
      log(.debug, "\(pod.id): a connection to the proxy's own port is refused")
      statistics.refused += 1
      return Socket.closeByReset(fd)
    }
    guard snapshot.acceptsPlaintext else {
      log(.info, "\(pod.id): plaintext from \(peer) to port \(target.port) refused: mutual TLS is STRICT")
      statistics.refused += 1
      return Socket.closeByReset(fd)
    }
    guard let stream = accept(fd) else { return }
    var facts = Session.Facts(direction: .inbound, workload: pod.id)
    facts.source = snapshot.workload(at: peer.ip)?.id ?? ""
    facts.destination = pod.id
    facts.destinationIdentity = identity(of: pod.id)?.id.description ?? ""
    facts.downstreamAddress = peer
    guard let session = makeSession(facts, downstream: stream) else { return stream.reset() }
    let endpoint = OutboundRoute.Endpoint(address: target, workloadID: pod.id, transport: .delivery)
    open(session, to: endpoint) { [unowned self] in give(up: session, .connectFailure, $0.description) }
  }

  /// A tunnel's connection on port 15008.
  func acceptTunnel(_ fd: Int32, _ peer: SocketAddress, pod: PodContext) {
    guard let identity = identity(of: pod.id) else {
      log(.warning, "\(pod.id): a tunnel from \(peer) is refused: this pod has no certificate yet")
      statistics.refused += 1
      return Socket.closeByReset(fd)
    }
    guard pod.inboundTunnels.makeRoom() else {
      statistics.refused += 1
      if let before = pod.inboundTunnels.refusals.allow(now: loop.now) {
        log(
          .warning,
          "\(pod.id): a tunnel from \(peer) is refused: \(InboundTunnels.bound) are in use\(TunnelServer.more(before))")
      }
      return Socket.closeByReset(fd)
    }
    let server = TunnelServer(worker: self, pod: pod)
    do {
      server.tunnel = try TunnelConnection(
        fd: fd, peer: peer, role: .server, identity: identity, loop: loop, delegate: server)
      keepAlive(server)
      pod.inboundTunnels.add(server)
    } catch {
      log(.error, "\(pod.id): \(error)")
      Socket.closeByReset(fd)
    }
  }
}

/// One tunnel as its server sees it: whose it is, and where its streams go.
final class TunnelServer: TunnelDelegate {
  private unowned let worker: Worker
  private let pod: PodContext
  var workloadID: String { pod.id }
  var tunnel: TunnelConnection?
  /// Its place among the pod's.
  var arrival: UInt64 = 0
  private var client: SPIFFEID?

  init(worker: Worker, pod: PodContext) {
    self.worker = worker
    self.pod = pod
  }

  /// What a log line says of the ones before it that weren't written.
  static func more(_ count: Int) -> String { count == 0 ? "" : " (and \(count) more before)" }

  private func warn(_ text: @autoclosure () -> String) {
    guard let before = pod.inboundTunnels.refusals.allow(now: worker.loop.now) else { return }
    worker.log(.warning, "\(workloadID): \(text())\(Self.more(before))")
  }

  func tunnel(_ tunnel: TunnelConnection, judge peerURI: String?) -> String? {
    switch worker.snapshot.judge(peerURI: peerURI, at: tunnel.peer.ip) {
    case .accepted(let identity):
      client = identity
      return nil
    case .refused(let reason): return reason
    }
  }

  func tunnelOpened(_ tunnel: TunnelConnection) {}
  func tunnelChanged(_ tunnel: TunnelConnection) {}

  func tunnel(_ tunnel: TunnelConnection, request: HBONERequest, stream: TunnelStream) {
    guard request.method == "CONNECT" else {
      return refuse(tunnel, stream, 405, "method \(request.method.debugDescription)")
    }
    guard let target = worker.snapshot.deliveryTarget(authority: request.authority, of: workloadID),
      worker.pods[workloadID] != nil
    else {
      let authority = String(request.authority.prefix(100)).debugDescription
      return refuse(tunnel, stream, 403, "CONNECT to \(authority), which is not this pod")
    }
    var facts = Session.Facts(direction: .inbound, workload: workloadID)
    facts.source = worker.snapshot.workload(at: tunnel.peer.ip)?.id ?? ""
    facts.sourceIdentity = client?.description ?? ""
    facts.destination = workloadID
    facts.destinationIdentity = worker.identity(of: workloadID)?.id.description ?? ""
    facts.isTLS = true
    facts.isTunnelled = true
    // The tunnel's own address is proven; of what the client claims only the port is taken, and only for that address.
    let claimed = SocketAddress(request.client)
    facts.downstreamAddress = claimed?.ip == tunnel.peer.ip ? claimed : tunnel.peer
    guard let session = worker.makeSession(facts, downstream: stream) else {
      return refuse(tunnel, stream, 503, "too many connections")
    }
    let endpoint = OutboundRoute.Endpoint(address: target, workloadID: workloadID, transport: .delivery)
    worker.open(session, to: endpoint, established: { tunnel.respond(200, stream: stream.id) }) {
      [unowned worker] failure in
      tunnel.respond(503, stream: stream.id)
      worker.give(up: session, .connectFailure, failure.description)
    }
  }

  private func refuse(_ tunnel: TunnelConnection, _ stream: TunnelStream, _ status: Int, _ reason: String) {
    worker.statistics.refused += 1
    warn("a stream of \(client?.description ?? "nobody") is refused: \(reason)")
    tunnel.respond(status, stream: stream.id)
  }

  func tunnelClosed(_ tunnel: TunnelConnection, reason: String) {
    if client == nil {
      worker.statistics.handshakesRefused += 1
      warn("a tunnel from \(tunnel.peer) is refused: \(reason)")
    }
    self.tunnel = nil
    pod.inboundTunnels.remove(self)
    worker.release(self)
  }
}
