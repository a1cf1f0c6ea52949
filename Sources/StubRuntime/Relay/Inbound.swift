import CStub
import Glibc
import MeshModel
import StubCore

/// The server half: plaintext and tunnels that arrive at the pod, delivered to its application.
extension Stub {
  func acceptInbound(_ fd: Int32, _ peer: SocketAddress) {
    guard let target = Sockets.originalDestination(fd) else { return refuse(fd) }
    if case .refused(_, let reason) = judge.plaintext(from: peer.ip, to: target, by: delta.table) {
      log.write(.warning, "plaintext is refused: \(reason)")
      return refuse(fd)
    }
    guard let session = makeSession(.inbound, fd) else { return }
    deliver(session, to: target) { _ in }
  }

  /// - Parameter answered: is told once whether the application took it.
  func deliver(_ session: Session, to target: SocketAddress, answered: @escaping (Bool) -> Void) {
    do throws(SystemFailure) {
      let fd = try Sockets.connect(target)
      var side: TCPSide?
      side = try TCPSide(fd: fd, loop: loop) { [unowned self] code in
        defer { side = nil }
        guard code == 0, let side, !session.isClosed else {
          side?.reset()
          answered(false)
          return giveUp(session, "to port \(target.port)", String(cString: strerror(code)))
        }
        counters.established += 1
        answered(true)
        session.join(side)
      }
      // A client that gives up before the application answers.
      session.onEnd.append { [weak side] in side?.reset() }
    } catch {
      answered(false)
      giveUp(session, "to port \(target.port)", error.description)
    }
  }

  func acceptTunnel(_ fd: Int32, _ peer: SocketAddress) {
    guard let credentials = tunnels.credentials else {
      log.write(.warning, "a tunnel from \(peer) is refused: there is no certificate yet")
      return refuse(fd)
    }
    guard inboundTunnels.makeRoom() else {
      log.write(.warning, "a tunnel from \(peer) is refused: \(InboundTunnels.bound) are in use")
      return refuse(fd)
    }
    do {
      inboundTunnels.add(
        try HTTP2Connection(
          fd: fd, peer: peer, role: .server, context: credentials.server, loop: loop, delegate: inboundTunnels))
    } catch {
      log.write(.error, "\(error)")
      Sockets.reset(fd)
    }
  }
}

/// The tunnels that arrive. Anybody can open a connection: those that haven't shown a certificate have a bound of their own.
final class InboundTunnels: HTTP2Delegate {
  static let bound = 1024
  static let handshakesBound = 128
  /// Longer than a client's (`TunnelGroup.idleSeconds`): ours close theirs first.
  static let idleSeconds: Int64 = 600

  private unowned let stub: Stub
  private var tunnels: [HTTP2Connection] = []

  init(stub: Stub) { self.stub = stub }

  var count: Int { tunnels.count }

  /// The oldest without a certificate goes, else the one that has been idle for the longest.
  func makeRoom() -> Bool {
    guard tunnels.count >= Self.handshakesBound else { return true }
    let handshakes = tunnels.filter { !$0.isOpen }
    if handshakes.count >= Self.handshakesBound {
      handshakes.first?.close("more than \(Self.handshakesBound) handshakes are under way")
      return true
    }
    guard tunnels.count >= Self.bound else { return true }
    let idle = tunnels.filter { $0.streams.isEmpty }.min { $0.lastActive < $1.lastActive }
    idle?.close("idle, and there are \(Self.bound) tunnels")
    return idle != nil
  }

  func add(_ tunnel: HTTP2Connection) { tunnels.append(tunnel) }

  func sweep(now: Int64) {
    for tunnel in tunnels
    where tunnel.isOpen && tunnel.streams.isEmpty && now > tunnel.lastActive + Self.idleSeconds * 1_000_000_000 {
      tunnel.close("idle")
    }
  }

  func drain() { for tunnel in tunnels where tunnel.isOpen { tunnel.drain() } }

  func judge(_ connection: HTTP2Connection, uri: String) -> String? {
    guard case .refused(let reason) = stub.delta.table.judge(peerURI: uri, at: connection.peer.ip) else { return nil }
    return reason
  }

  func opened(_ connection: HTTP2Connection) {}
  func response(_ stream: HTTP2Stream, status: Int, grpcStatus: Int, message: String) {}
  func wentAway(_ connection: HTTP2Connection) {}

  func request(
    _ connection: HTTP2Connection, stream: HTTP2Stream, method: String, authority: String, forwarded: String
  ) {
    guard method == "CONNECT" else { return refuse(connection, stream, 405, "method \(method)") }
    let target: SocketAddress
    switch stub.judge.connect(authority, from: connection.peer.ip, identity: connection.peerURI) {
    case .deliver(let address): target = address
    case .refused(let status, let reason): return refuse(connection, stream, status, reason)
    }
    guard stub.sessions.count < stub.options.connections else {
      return refuse(connection, stream, 503, "\(stub.options.connections) connections are open")
    }
    let side = StreamSide(stream, loop: stub.loop)
    let session = stub.keep(
      Session(.inbound, down: side, now: stub.loop.now) { [unowned stub] in stub.end($0) })
    stub.deliver(session, to: target) { [weak connection] isTaken in
      connection?.respond(stream, status: isTaken ? 200 : 503)
      if !isTaken { side.abandon() }
    }
  }

  private func refuse(_ connection: HTTP2Connection, _ stream: HTTP2Stream, _ status: Int, _ reason: String) {
    stub.counters.refused += 1
    stub.log.write(.warning, "a stream of \(connection.peerURI) is refused: \(reason)")
    connection.respond(stream, status: status)
  }

  func closed(_ connection: HTTP2Connection, reason: String) {
    tunnels.removeAll { $0 === connection }
    guard !connection.wasOpen else { return }
    stub.counters.refused += 1
    stub.log.write(.warning, "a tunnel from \(connection.peer) is refused: \(reason)")
  }
}
