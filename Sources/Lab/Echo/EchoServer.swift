import CLinux
import Glibc

/// The lab's own server: tells each client whom it sees, and sends back what it gets. One thread, one epoll.
///
/// - TCP: on the first byte, or the end of the client's stream, one line
///   `peer=<ip:port> local=<ip:port> name=<TEXT>`, then every byte as it came; the server ends its half of the stream
///   once all is sent and the client has ended its own.
/// - TCP beginning with `GET `: HTTP/1.1; each request is answered with the same facts as JSON.
/// - UDP: each datagram goes back to where it came from.
///
/// It depends on nothing but the C library.
public final class EchoServer {
  public struct Options: Sendable {
    public var tcpPorts: [UInt16] = []
    public var udpPorts: [UInt16] = []
    public var name = "echo"
    /// Sends the first line at once, as server-first protocols do; HTTP is then not looked for.
    public var greetsFirst = false
    /// After SIGTERM it serves on for so long; 0: it ends at once, as any program does.
    public var drainSeconds: UInt32 = 0

    public init() {}
  }

  /// An error of the system, with what was tried.
  public struct SystemError: Error, CustomStringConvertible {
    public let description: String

    init(_ what: String) {
      description = "\(what): \(String(cString: strerror(errno)))"
    }
  }

  private let options: Options
  private let epoll: Int32
  private var listeners: [Int32] = []
  private var datagrams: Set<Int32> = []
  private var connections: [Int32: EchoConnection] = [:]
  /// Out of descriptors: no accept until a connection ends.
  private var isPaused = false

  /// Opens the ports on every address of both families.
  /// - Throws: `SystemError`.
  public init(_ options: Options) throws {
    self.options = options
    signal(SIGPIPE, SIG_IGN)
    Self.raiseDescriptorLimit()
    epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    guard epoll >= 0 else { throw SystemError("epoll_create1") }
    for port in options.tcpPorts {
      let listener = try Self.open(SOCK_STREAM, port)
      guard listen(listener, 4096) == 0 else { throw SystemError("listening on port \(port)") }
      listeners.append(listener)
      control(EPOLL_CTL_ADD, listener, EPOLLIN.rawValue)
    }
    for port in options.udpPorts {
      let socket = try Self.open(SOCK_DGRAM, port)
      datagrams.insert(socket)
      control(EPOLL_CTL_ADD, socket, EPOLLIN.rawValue)
    }
  }

  deinit {
    for descriptor in listeners + Array(datagrams) + Array(connections.keys) + [epoll] { close(descriptor) }
  }

  /// The port of the first TCP listener: for port 0.
  public var tcpPort: UInt16 { listeners.first.map { SocketName.local($0).port } ?? 0 }
  public var udpPort: UInt16 { datagrams.first.map { SocketName.local($0).port } ?? 0 }

  /// Serves for ever, or until some time after SIGTERM.
  public func run() throws {
    guard options.drainSeconds > 0 else {
      while true { try turn(timeoutMilliseconds: -1) }
    }
    var (term, pending) = (sigset_t(), sigset_t())
    sigemptyset(&term)
    sigaddset(&term, SIGTERM)
    sigprocmask(SIG_BLOCK, &term, nil)
    repeat {
      try turn(timeoutMilliseconds: 100)
      sigpending(&pending)
    } while sigismember(&pending, SIGTERM) == 0
    let end = Self.milliseconds + 1000 * Int(options.drainSeconds)
    while Self.milliseconds < end { try turn(timeoutMilliseconds: 100) }
  }

  private static var milliseconds: Int {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
  }

  /// Serves what is ready within the time.
  public func turn(timeoutMilliseconds: Int32) throws {
    var events = [epoll_event](repeating: epoll_event(), count: 512)
    let count = epoll_wait(epoll, &events, Int32(events.count), timeoutMilliseconds)
    guard count >= 0 else {
      if errno == EINTR { return }
      throw SystemError("epoll_wait")
    }
    for event in events[..<Int(count)] {
      let descriptor = event.data.fd
      if let connection = connections[descriptor] {
        serve(connection, event.events)
      } else if datagrams.contains(descriptor) {
        answerDatagrams(descriptor)
      } else {
        accept(descriptor)
      }
    }
  }

  private func accept(_ listener: Int32) {
    // Some at a time, so that a flood of connections doesn't starve those that are open.
    for _ in 0..<256 {
      let descriptor = weft_accept(listener, nil, nil)
      guard descriptor >= 0 else {
        if descriptor == -ECONNABORTED || descriptor == -EINTR { continue }
        if descriptor == -EMFILE || descriptor == -ENFILE { pause() }
        return
      }
      var one: Int32 = 1
      setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
      let connection = EchoConnection(
        descriptor, peer: SocketName.peer(descriptor).description, local: SocketName.local(descriptor).description,
        name: options.name, greetsFirst: options.greetsFirst)
      connections[descriptor] = connection
      control(EPOLL_CTL_ADD, descriptor, connection.interest)
      if options.greetsFirst { serve(connection, EPOLLOUT.rawValue) }
    }
  }

  private func serve(_ connection: EchoConnection, _ events: UInt32) {
    let before = connection.interest
    guard connection.serve(events) else {
      connections[connection.descriptor] = nil
      close(connection.descriptor)
      if isPaused { resume() }
      return
    }
    if connection.interest != before { control(EPOLL_CTL_MOD, connection.descriptor, connection.interest) }
  }

  private func pause() {
    isPaused = true
    for listener in listeners { control(EPOLL_CTL_MOD, listener, 0) }
  }

  private func resume() {
    isPaused = false
    for listener in listeners { control(EPOLL_CTL_MOD, listener, EPOLLIN.rawValue) }
  }

  private func answerDatagrams(_ descriptor: Int32) {
    var buffer = [UInt8](repeating: 0, count: 65536)
    for _ in 0..<64 {
      var peer = sockaddr_storage()
      var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
      let isAnswered = withUnsafeMutablePointer(to: &peer) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
          let count = recvfrom(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT), address, &length)
          guard count >= 0 else { return false }
          sendto(descriptor, buffer, count, Int32(MSG_DONTWAIT), address, length)
          return true
        }
      }
      guard isAnswered else { return }
    }
  }

  private func control(_ operation: Int32, _ descriptor: Int32, _ interest: UInt32) {
    var event = epoll_event(events: interest, data: epoll_data_t(fd: descriptor))
    epoll_ctl(epoll, operation, descriptor, &event)
  }

  /// A socket bound to a port of every IPv6 and IPv4 address, or IPv4 alone where the kernel has no IPv6.
  private static func open(_ type: __socket_type, _ port: UInt16) throws -> Int32 {
    let kind = Int32(type.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    var descriptor = socket(AF_INET6, kind, 0)
    let isV6 = descriptor >= 0
    if !isV6 { descriptor = socket(AF_INET, kind, 0) }
    guard descriptor >= 0 else { throw SystemError("a socket for port \(port)") }
    var one: Int32 = 1
    var zero: Int32 = 0
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, 4)
    setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &zero, 4)
    var v6 = sockaddr_in6()
    v6.sin6_family = sa_family_t(AF_INET6)
    v6.sin6_port = port.bigEndian
    var v4 = sockaddr_in()
    v4.sin_family = sa_family_t(AF_INET)
    v4.sin_port = port.bigEndian
    let result =
      isV6
      ? withUnsafePointer(to: &v6) { bindAddress(descriptor, $0, MemoryLayout<sockaddr_in6>.size) }
      : withUnsafePointer(to: &v4) { bindAddress(descriptor, $0, MemoryLayout<sockaddr_in>.size) }
    guard result == 0 else {
      let error = SystemError("port \(port)")
      close(descriptor)
      throw error
    }
    return descriptor
  }

  private static func bindAddress<T>(_ descriptor: Int32, _ address: UnsafePointer<T>, _ size: Int) -> Int32 {
    UnsafeRawPointer(address).withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(descriptor, $0, socklen_t(size))
    }
  }

  private static func raiseDescriptorLimit() {
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }
}
