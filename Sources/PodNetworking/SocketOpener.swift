import Glibc
import MeshModel

/// A pod's listening and resolver sockets, in the order in which they're handed over.
public enum PodListener: Int, CaseIterable, Sendable {
  /// Captured connections, over loopback. What comes from outside, sk_lookup turns away from this port and from `dns`'s.
  /// Not bound to `lo`: an IPv6 client that chose the pod's address as its own couldn't be answered.
  case outbound
  /// Connections from outside, whatever their port.
  case inbound
  case hbone
  /// UDP, over loopback; packet information on, to tell which server a query was meant for.
  case dns
  /// UDP, unbound: queries to the pod's own server leave from it.
  case dnsUpstream

  /// 0: none.
  public var port: UInt16 {
    switch self {
    case .outbound: MeshPort.outbound
    case .inbound: MeshPort.inbound
    case .hbone: MeshPort.hbone
    case .dns: MeshPort.dns
    case .dnsUpstream: 0
    }
  }

  public var isDatagram: Bool { self == .dns || self == .dnsUpstream }
}

/// An unconnected TCP socket for the proxy.
public enum PodSocketKind: Int, CaseIterable, Sendable {
  /// For connections that leave the pod.
  case egressV4, egressV6
  /// For connections to the pod's own application: they leave from the loopback address, so that ports in TIME_WAIT are
  /// taken again (tcp_tw_reuse is on for loopback), and arrive over `lo`, which sk_lookup leaves alone.
  case deliveryV4, deliveryV6
}

/// Why a pod's socket can't be opened.
public struct PodSocketError: Error, Equatable, Sendable {
  /// What was done.
  public var what: String
  /// An errno value.
  public var code: CInt
  /// A port that the mesh needs is the application's: `what` is a whole sentence.
  public var isPortTaken = false

  static func system(_ what: String, code: CInt) -> Self { Self(what: what, code: code) }
}

/// Opens sockets in the network namespace of the calling thread: the agent's thread for that, or a stub. All sockets are
/// non-blocking and close on exec; the caller owns them.
public enum SocketOpener {
  /// Connections that wait for the proxy, also while it restarts.
  public static let backlog: CInt = 4_096

  /// One descriptor per listener, in the order of `PodListener.allCases`; none is left open if one fails.
  public static func openListeners() throws(PodSocketError) -> [CInt] {
    var opened: [CInt] = []
    for listener in PodListener.allCases {
      do throws(PodSocketError) {
        opened.append(try open(listener))
      } catch {
        for descriptor in opened { close(descriptor) }
        throw error
      }
    }
    return opened
  }

  /// Dual-stack, or IPv4 alone where the kernel has no IPv6.
  public static func open(_ listener: PodListener) throws(PodSocketError) -> CInt {
    let type = listener.isDatagram ? SOCK_DGRAM : SOCK_STREAM
    var family = AF_INET6
    var descriptor = rawSocket(family, type)
    if descriptor < 0, errno == EAFNOSUPPORT {
      family = AF_INET
      descriptor = rawSocket(family, type)
    }
    guard descriptor >= 0 else { throw .system("opening the pod's \(listener) socket", code: errno) }
    do throws(PodSocketError) {
      try prepare(descriptor, listener, family)
      return descriptor
    } catch {
      close(descriptor)
      throw error
    }
  }

  /// - Parameter count: 1...128.
  public static func open(_ kind: PodSocketKind, count: Int) throws(PodSocketError) -> [CInt] {
    var opened: [CInt] = []
    do throws(PodSocketError) {
      for _ in 0..<count {
        let v4 = kind == .egressV4 || kind == .deliveryV4
        let descriptor = rawSocket(v4 ? AF_INET : AF_INET6, SOCK_STREAM)
        guard descriptor >= 0 else { throw .system("opening a pod's \(kind) socket", code: errno) }
        opened.append(descriptor)
        try set(descriptor, CInt(IPPROTO_TCP), TCP_NODELAY, 1, "TCP_NODELAY")
        if kind == .deliveryV4 || kind == .deliveryV6 {
          try leaveFromLoopback(descriptor, v4: v4)
          useCheapCongestionControl(descriptor)
        }
      }
      return opened
    } catch {
      for descriptor in opened { close(descriptor) }
      throw error
    }
  }

  /// On the loopback there is no congestion to control: Reno (always there, for everybody) costs least, while a system's
  /// default of BBR takes samples and paces by timers. Where it can't be set the default does as well.
  private static func useCheapCongestionControl(_ socket: CInt) {
    _ = setsockopt(socket, CInt(IPPROTO_TCP), TCP_CONGESTION, "reno", 4)
  }

  private static func rawSocket(_ family: CInt, _ type: __socket_type) -> CInt {
    socket(family, CInt(type.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
  }

  private static func prepare(_ socket: CInt, _ listener: PodListener, _ family: CInt) throws(PodSocketError) {
    if family == AF_INET6 { try set(socket, CInt(IPPROTO_IPV6), IPV6_V6ONLY, 0, "IPV6_V6ONLY") }
    if !listener.isDatagram {
      try set(socket, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR")
      // Accepted sockets inherit it.
      try set(socket, CInt(IPPROTO_TCP), TCP_NODELAY, 1, "TCP_NODELAY")
      if listener == .outbound { useCheapCongestionControl(socket) }
    }
    guard listener.port != 0 else { return }
    if listener.isDatagram {
      try set(socket, CInt(IPPROTO_IP), IP_PKTINFO, 1, "IP_PKTINFO")
      if family == AF_INET6 {
        try set(socket, CInt(IPPROTO_IPV6), IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO")
      }
    }
    guard bindTo(socket, family, listener.port, loopback: false) == 0,
      listener.isDatagram || listen(socket, backlog) == 0
    else {
      guard errno == EADDRINUSE else {
        throw .system("binding the pod's \(listener) socket to port \(listener.port)", code: errno)
      }
      throw PodSocketError(
        what:
          "Port \(listener.port) (\(listener.isDatagram ? "UDP" : "TCP")), which the mesh needs in the pod, is taken by "
          + "the application: let it use another port, or keep the pod out of the mesh", code: EADDRINUSE,
        isPortTaken: true)
    }
  }

  private static func bindTo(_ socket: CInt, _ family: CInt, _ port: UInt16, loopback: Bool) -> CInt {
    var storage = sockaddr_storage()
    return withUnsafeMutableBytes(of: &storage) { bytes in
      guard let base = bytes.baseAddress else { return -1 }
      let length: Int
      if family == AF_INET6 {
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = port.bigEndian
        if loopback { address.sin6_addr = in6addr_loopback }
        base.storeBytes(of: address, as: sockaddr_in6.self)
        length = MemoryLayout<sockaddr_in6>.size
      } else {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        if loopback { address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian }
        base.storeBytes(of: address, as: sockaddr_in.self)
        length = MemoryLayout<sockaddr_in>.size
      }
      return bind(socket, base.assumingMemoryBound(to: sockaddr.self), socklen_t(length))
    }
  }

  /// The port is chosen by connect, among those free for its destination. SO_BINDTODEVICE wouldn't do: the route to the
  /// pod's own address leads through the device that holds it, not through `lo`.
  private static func leaveFromLoopback(_ socket: CInt, v4: Bool) throws(PodSocketError) {
    try set(socket, CInt(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT")
    guard bindTo(socket, v4 ? AF_INET : AF_INET6, 0, loopback: true) == 0 else {
      throw .system("binding a socket to the pod's loopback address", code: errno)
    }
  }

  private static func set(
    _ socket: CInt, _ level: CInt, _ name: CInt, _ value: CInt, _ text: String
  ) throws(PodSocketError) {
    var value = value
    guard setsockopt(socket, level, name, &value, socklen_t(MemoryLayout<CInt>.size)) == 0 else {
      throw .system("setting \(text) on a pod's socket", code: errno)
    }
  }
}
