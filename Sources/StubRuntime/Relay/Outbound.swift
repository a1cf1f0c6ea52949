import CStub
import Glibc
import MeshModel
import StubCore

/// The client half: a captured connection to where its application wanted it.
extension Stub {
  static let attempts = 3

  func acceptOutbound(_ fd: Int32, _ peer: SocketAddress) {
    guard let destination = Sockets.originalDestination(fd), destination.port != MeshPort.outbound else {
      log.write(.debug, "a connection to port \(MeshPort.outbound) that was not redirected is refused")
      return refuse(fd)
    }
    guard delta.isComplete else {
      // What isn't known to be of the mesh would leave in plaintext.
      log.write(.info, "a connection to \(destination) is refused: the mesh isn't known yet")
      return refuse(fd)
    }
    guard let session = makeSession(.outbound, fd) else { return }
    let client = SocketAddress(ownAddress(destination.ip.family) ?? peer.ip, peer.port)
    switch delta.table.route(to: destination, own: options.pod.workload) {
    case .refused(let reason): giveUp(session, "to \(destination)", reason)
    case .direct(let target): Dial(self, session, [target], client, name: destination.description).next()
    case .service(let name, let targets): Dial(self, session, targets, client, name: name).next()
    }
  }

  private func ownAddress(_ family: IPAddress.Family) -> IPAddress? {
    options.pod.addresses.first { $0.family == family }
  }

  func refuse(_ fd: Int32) {
    counters.refused += 1
    Sockets.reset(fd)
  }

  /// nil: the descriptor is closed.
  func makeSession(_ direction: Session.Direction, _ fd: Int32) -> Session? {
    guard sessions.count < options.connections else {
      log.write(.warning, "a connection is refused: \(options.connections) are open, as --connections allows")
      refuse(fd)
      return nil
    }
    do {
      let side = try TCPSide(fd: fd, loop: loop)
      return keep(Session(direction, down: side, now: loop.now) { [unowned self] in end($0) })
    } catch {
      log.write(.error, "\(error)")
      return nil
    }
  }

  func giveUp(_ session: Session, _ what: String, _ reason: String) {
    guard !session.isClosed else { return }
    counters.failed += 1
    log.write(.info, "a connection \(what) failed: \(reason)")
    session.close()
  }
}

/// A connection on its way: tried at another endpoint where one doesn't answer, `Stub.attempts` at most.
final class Dial {
  private unowned let stub: Stub
  private let session: Session
  private let targets: [StubTarget]
  private let client: SocketAddress
  private let name: String
  private var tried: [SocketAddress] = []
  private var lastFailure: String?

  init(_ stub: Stub, _ session: Session, _ targets: [StubTarget], _ client: SocketAddress, name: String) {
    self.stub = stub
    self.session = session
    self.targets = targets
    self.client = client
    self.name = name
  }

  func next() {
    guard !session.isClosed else { return }
    let target = stub.loads.choose(targets, excluding: tried, using: &stub.loop.random)
    guard tried.count < Stub.attempts, let target else {
      return stub.giveUp(session, "to \(name)", lastFailure ?? "no endpoint is ready")
    }
    tried.append(target.address)
    stub.loads.started(target.address)
    switch target.transport {
    case .plaintext: connect(target)
    case .tunnel(let identity):
      stub.tunnels.open(
        TunnelPool.Key(address: target.address.ip, identity: identity), authority: target.address.description,
        forwarded: "for=\"\(client)\""
      ) { [self] result in
        switch result {
        case .success(let stream): established(target, StreamSide(stream, loop: stub.loop))
        case .failure(let failure): failed(target, failure.reason)
        }
      }
    }
  }

  private func connect(_ target: StubTarget) {
    do throws(SystemFailure) {
      let fd = try Sockets.connect(target.address)
      var side: TCPSide?
      side = try TCPSide(fd: fd, loop: stub.loop) { [self] code in
        defer { side = nil }
        guard code == 0, let side else {
          return failed(target, "can't connect to \(target.address): \(String(cString: strerror(code)))")
        }
        established(target, side)
      }
    } catch {
      failed(target, error.description)
    }
  }

  private func established(_ target: StubTarget, _ side: any Side) {
    guard !session.isClosed else {
      stub.loads.ended(target.address)
      return side.reset()
    }
    stub.counters.established += 1
    session.onEnd.append { [stub] in stub.loads.ended(target.address) }
    session.join(side)
  }

  private func failed(_ target: StubTarget, _ reason: String) {
    stub.loads.ended(target.address)
    lastFailure = reason
    // Not from within the failing call, so that many refusals don't nest.
    stub.loop.after(seconds: 0) { [self] in next() }
  }
}
