import ProxyCore

/// The tunnels that arrive at one pod, as one worker has them: how many there may be, and how long they may idle. Anybody
/// can open a connection, so those that haven't shown a certificate yet have a bound of their own.
final class InboundTunnels {
  static let bound = 4096
  static let handshakesBound = 1024
  /// Longer than a client's (`TunnelPool.idleTimeout`): ours close theirs first.
  static let idleTimeout: NanoTime = .seconds(600)
  private static let sweepInterval: NanoTime = .seconds(5)

  private var servers: [ObjectIdentifier: TunnelServer] = [:]
  private var arrivals: UInt64 = 0
  private var nextSweep: NanoTime = 0
  var refusals = LogRate()

  var count: Int { servers.count }

  /// Makes room for one more: the oldest connection without a certificate goes, else the tunnel that has been idle for the
  /// longest.
  /// - Returns: false where every tunnel is in use.
  func makeRoom() -> Bool {
    guard servers.count >= Self.handshakesBound else { return true }
    let handshakes = servers.values.filter { $0.tunnel?.isOpen == false }
    if handshakes.count >= Self.handshakesBound, let oldest = handshakes.min(by: Self.isOlder) {
      oldest.tunnel?.close("more than \(Self.handshakesBound) handshakes are under way")
      return true
    }
    guard servers.count >= Self.bound else { return true }
    let idle = servers.values.lazy.filter { $0.tunnel?.isOpen == true && $0.tunnel?.streamCount == 0 }
    guard let oldest = idle.min(by: Self.isOlder) else { return false }
    oldest.tunnel?.close("idle, and there are \(Self.bound) tunnels")
    return true
  }

  /// Many arrive within one tick, all at its time: then the order counts in which they came.
  private static func isOlder(_ left: TunnelServer, _ right: TunnelServer) -> Bool {
    (left.tunnel?.lastActive ?? 0, left.arrival) < (right.tunnel?.lastActive ?? 0, right.arrival)
  }

  func add(_ server: TunnelServer) {
    arrivals += 1
    server.arrival = arrivals
    servers[ObjectIdentifier(server)] = server
  }

  func remove(_ server: TunnelServer) { servers[ObjectIdentifier(server)] = nil }

  func expire(now: NanoTime) {
    guard now >= nextSweep else { return }
    nextSweep = now + Self.sweepInterval
    for server in Array(servers.values) {
      guard let tunnel = server.tunnel, tunnel.isOpen, tunnel.streamCount == 0,
        now > tunnel.lastActive + Self.idleTimeout
      else { continue }
      tunnel.close("idle")
    }
  }
}
