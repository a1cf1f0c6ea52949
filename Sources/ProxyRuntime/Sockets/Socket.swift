import CLinux
import Glibc
import MeshModel

/// Socket calls, without state of their own.
enum Socket {
  static let edgeTriggered =
    EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue

  /// What a non-blocking connect did.
  enum Connecting {
    case connected
    case inProgress
    case failed(Int32)
  }

  static func connect(_ fd: Int32, to address: SocketAddress) -> Connecting {
    let result = withSockaddr(address) { Glibc.connect(fd, $0, $1) }
    if result == 0 { return .connected }
    return errno == EINPROGRESS ? .inProgress : .failed(errno)
  }

  /// Dissolves a socket's association, by RST where the connection is alive, so that it can connect anew.
  static func disconnect(_ fd: Int32) -> Bool {
    var address = sockaddr()
    address.sa_family = sa_family_t(AF_UNSPEC)
    return Glibc.connect(fd, &address, socklen_t(MemoryLayout<sockaddr>.size)) == 0
  }

  /// Empties the queue of ICMP errors. A SYN that one answered leaves it there, asked for or not (Linux, tcp_v4_err),
  /// dissolving the association doesn't take it away, and epoll would report it as an error of the next connection.
  static func forgetErrors(_ fd: Int32) {
    var byte: UInt8 = 0
    // Bounded: an attempt sends a handful of SYNs.
    for _ in 0..<64 {
      if recv(fd, &byte, 1, Int32(MSG_ERRQUEUE | MSG_DONTWAIT)) < 0 { return }
    }
  }

  /// Never connected, or its connect failed: nothing of it is on its way.
  static func isUnconnected(_ fd: Int32) -> Bool {
    // The first byte of struct tcp_info is the state.
    var state: UInt8 = 0
    var length: socklen_t = 1
    return getsockopt(fd, Int32(IPPROTO_TCP), TCP_INFO, &state, &length) == 0 && Int(state) == Int(TCP_CLOSE)
  }

  /// The socket's pending error, cleared by asking; 0 if none.
  static func pendingError(_ fd: Int32) -> Int32 {
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) == 0 ? code : errno
  }

  static func closeByReset(_ fd: Int32) {
    var linger = linger(l_onoff: 1, l_linger: 0)
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
    close(fd)
  }

  static func setNoDelay(_ fd: Int32) { set(fd, Int32(IPPROTO_TCP), TCP_NODELAY, 1) }

  /// A dead peer is noticed within 60 s.
  static func setKeepAlive(_ fd: Int32) {
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
    set(fd, Int32(IPPROTO_TCP), TCP_KEEPIDLE, 30)
    set(fd, Int32(IPPROTO_TCP), TCP_KEEPINTVL, 10)
    set(fd, Int32(IPPROTO_TCP), TCP_KEEPCNT, 3)
    set(fd, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, 60_000)
  }

  private static func set(_ fd: Int32, _ level: Int32, _ name: Int32, _ value: Int32) {
    var value = value
    setsockopt(fd, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
  }

  static func localAddress(_ fd: Int32) -> SocketAddress? { address { getsockname(fd, $0, $1) } }
  static func peerAddress(_ fd: Int32) -> SocketAddress? { address { getpeername(fd, $0, $1) } }

  /// Accepts one connection, non-blocking; -errno on failure.
  static func accept(_ listener: Int32) -> (fd: Int32, peer: SocketAddress?) {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let fd = withUnsafeMutablePointer(to: &storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        weft_accept(listener, $0, &length)
      }
    }
    return fd < 0 ? (fd, nil) : (fd, SocketAddress(storage))
  }

  private static func address(
    _ call: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
  ) -> SocketAddress? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { call($0, &length) }
    }
    return result == 0 ? SocketAddress(storage) : nil
  }

  private static func withSockaddr<R>(
    _ address: SocketAddress, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R
  ) -> R {
    if let v4 = address.ip.v4 {
      var raw = sockaddr_in()
      raw.sin_family = sa_family_t(AF_INET)
      raw.sin_port = address.port.bigEndian
      raw.sin_addr.s_addr = v4.bigEndian
      return withUnsafePointer(to: &raw) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
      }
    }
    var raw = sockaddr_in6()
    raw.sin6_family = sa_family_t(AF_INET6)
    raw.sin6_port = address.port.bigEndian
    withUnsafeMutableBytes(of: &raw.sin6_addr) { bytes in
      bytes.storeBytes(of: address.ip.high.bigEndian, as: UInt64.self)
      bytes.storeBytes(of: address.ip.low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    return withUnsafePointer(to: &raw) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_in6>.size))
      }
    }
  }
}

extension SocketAddress {
  init?(_ storage: sockaddr_storage) {
    var storage = storage
    let address: SocketAddress? = withUnsafeBytes(of: &storage) { bytes in
      let port = UInt16(bigEndian: bytes.load(fromByteOffset: 2, as: UInt16.self))
      switch Int32(bytes.load(as: UInt16.self)) {
      case AF_INET:
        return SocketAddress(IPAddress(v4: UInt32(bigEndian: bytes.load(fromByteOffset: 4, as: UInt32.self))), port)
      case AF_INET6:
        let high = UInt64(bigEndian: bytes.load(fromByteOffset: 8, as: UInt64.self))
        let low = UInt64(bigEndian: bytes.load(fromByteOffset: 16, as: UInt64.self))
        return SocketAddress(IPAddress(v6High: high, v6Low: low), port)
      default: return nil
      }
    }
    guard let address else { return nil }
    self = address
  }
}
