import Glibc
import MeshModel
import ProxyCore

/// The kinds of sockets that come from inside a pod's namespace.
enum SocketKind: Int, CaseIterable, Sendable {
  case egressV4, egressV6, deliveryV4, deliveryV6

  static func delivery(_ ip: IPAddress) -> SocketKind { ip.family == .v4 ? .deliveryV4 : .deliveryV6 }
  static func egress(_ ip: IPAddress) -> SocketKind { ip.family == .v4 ? .egressV4 : .egressV6 }
}

/// A listening socket of a pod.
enum ListenerKind: Int, CaseIterable, Sendable { case outbound, inbound, hbone, dns, dnsUpstream }

/// One pod as one worker serves it. Owns its descriptors.
final class PodContext {
  let id: String
  var listeners: [any PodListener] = []
  let inboundTunnels = InboundTunnels()
  /// Connections to DNS servers that are open.
  var dnsStreams = 0
  private let pools: [SocketPool]

  init(id: String, request: @escaping (SocketKind, Int) -> Void) {
    self.id = id
    pools = SocketKind.allCases.map { kind in SocketPool { request(kind, $0) } }
  }

  func pool(_ kind: SocketKind) -> SocketPool { pools[kind.rawValue] }

  func expire(now: NanoTime) {
    for pool in pools { pool.expire(now: now) }
    inboundTunnels.expire(now: now)
  }

  var pooledSockets: Int { pools.reduce(0) { $0 + $1.count } }

  func stopListening() {
    for listener in listeners { listener.stop() }
    listeners = []
  }

  /// Takes nothing new; what is under way goes on.
  func stopAccepting() { for listener in listeners { listener.stopAccepting() } }

  func close() {
    stopListening()
    for pool in pools { pool.closeAll() }
  }
}

/// Something that serves one of a pod's sockets.
protocol PodListener: AnyObject {
  /// Leaves the loop and closes this process's descriptor.
  func stop()
  /// Takes nothing new, and finishes what it has begun.
  func stopAccepting()
}
