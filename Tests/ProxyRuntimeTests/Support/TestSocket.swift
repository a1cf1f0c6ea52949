import CLinux
import Glibc
import MeshModel

@testable import ProxyRuntime

/// A blocking socket as an application would use it; every call gives up after half a minute.
struct TestSocket: Sendable {
  let fd: Int32

  init(fd: Int32) {
    self.fd = fd
    var timeout = timeval(tv_sec: 30, tv_usec: 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
  }

  static func tcp(flags: Int32 = 0) throws -> Int32 {
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | flags, 0)
    guard fd >= 0 else { throw SystemError(errno, "create a socket") }
    return fd
  }

  /// Unconnected and non-blocking, as the agent makes them; bound to `address` where given.
  static func pooled(from address: String? = nil) throws -> Int32 {
    let fd = try tcp(flags: Int32(SOCK_NONBLOCK.rawValue))
    if let address { try bind(fd, address, 0) }
    return fd
  }

  private static func bind(_ fd: Int32, _ address: String, _ port: UInt16) throws {
    var on: Int32 = 1
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, 4)
    // IP_BIND_ADDRESS_NO_PORT: the port is chosen by connect.
    if port == 0 { setsockopt(fd, Int32(IPPROTO_IP), 24, &on, 4) }
    var raw = sockaddr_in()
    raw.sin_family = sa_family_t(AF_INET)
    raw.sin_port = port.bigEndian
    raw.sin_addr.s_addr = inet_addr(address)
    let result = withUnsafePointer(to: &raw) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.bind(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard result == 0 else { throw SystemError(errno, "bind \(address):\(port)") }
  }

  /// Listening; `port` 0 takes any. The proxy's listeners are non-blocking, a test's own are not.
  static func listening(
    _ address: String = "127.0.0.1", _ port: UInt16 = 0, isBlocking: Bool = true, backlog: Int32 = 512
  ) throws -> TestSocket {
    let fd = try tcp(flags: isBlocking ? 0 : Int32(SOCK_NONBLOCK.rawValue))
    if port == 0 {
      var raw = sockaddr_in()
      raw.sin_family = sa_family_t(AF_INET)
      raw.sin_addr.s_addr = inet_addr(address)
      _ = withUnsafePointer(to: &raw) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          Glibc.bind(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
      }
    } else {
      try bind(fd, address, port)
    }
    guard listen(fd, backlog) == 0 else { throw SystemError(errno, "listen") }
    return TestSocket(fd: fd)
  }

  static func connected(to address: SocketAddress, from source: String? = nil) throws -> TestSocket {
    let fd = try tcp()
    if let source { try bind(fd, source, 0) }
    let connection = TestSocket(fd: fd)
    if case .failed(let code) = Socket.connect(connection.fd, to: address) {
      Glibc.close(fd)
      throw SystemError(code, "connect to \(address)")
    }
    return connection
  }

  var address: SocketAddress { Socket.localAddress(fd)! }

  func accept() throws -> TestSocket {
    let accepted = Glibc.accept(fd, nil, nil)
    guard accepted >= 0 else { throw SystemError(errno, "accept") }
    return TestSocket(fd: accepted)
  }

  func write(_ bytes: [UInt8]) throws {
    var sent = 0
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes { send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard count > 0 else { throw SystemError(errno, "send") }
      sent += count
    }
  }

  /// What is there, at most `limit` bytes; empty at the end.
  func readSome(_ limit: Int = 65_536) throws -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: limit)
    let count = recv(fd, &buffer, limit, 0)
    guard count >= 0 else { throw SystemError(errno, "receive") }
    return Array(buffer[..<count])
  }

  func read(_ count: Int) throws -> [UInt8] {
    var all: [UInt8] = []
    while all.count < count {
      let some = try readSome(min(65_536, count - all.count))
      if some.isEmpty { return all }
      all += some
    }
    return all
  }

  func readToEnd() throws -> [UInt8] {
    var all: [UInt8] = []
    while true {
      let some = try readSome()
      if some.isEmpty { return all }
      all += some
    }
  }

  /// The error of the next receive; 0 where it gives bytes or the end.
  func receiveError() -> Int32 {
    var byte: UInt8 = 0
    return recv(fd, &byte, 1, 0) < 0 ? errno : 0
  }

  func stopBlocking() { _ = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | Int32(SOCK_NONBLOCK.rawValue)) }
  func endWriting() { shutdown(fd, Int32(SHUT_WR)) }
  func close() { Glibc.close(fd) }
  func reset() { Socket.closeByReset(fd) }
}

/// Bytes that tell where a stream was cut, doubled or swapped.
func pattern(_ count: Int, _ seed: UInt8 = 0) -> [UInt8] {
  var state = UInt32(seed) &+ 12_345
  // A prime: no piece that is lost or doubled is as long as it. Made once, since a debug build takes seconds for megabytes.
  let piece = (0..<min(count, 65_521)).map { _ in
    state = state &* 1_664_525 &+ 1_013_904_223
    return UInt8(truncatingIfNeeded: state >> 24)
  }
  var bytes: [UInt8] = []
  bytes.reserveCapacity(count)
  while bytes.count < count { bytes += piece.prefix(count - bytes.count) }
  return bytes
}

/// Asks until `condition` holds, for half a minute at most.
func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
  for _ in 0..<15_000 {
    if try condition() { return true }
    usleep(2000)
  }
  return try condition()
}

/// Runs on a thread of its own, for a peer that has to act while the test does.
func inBackground<T: Sendable>(_ body: @escaping @Sendable () throws -> T) -> BackgroundResult<T> {
  let result = BackgroundResult<T>()
  var thread = pthread_t()
  pthread_create(
    &thread, nil,
    { argument in
      Unmanaged<ThreadBody>.fromOpaque(argument!).takeRetainedValue().run()
      return nil
    },
    Unmanaged.passRetained(ThreadBody { result.set(Result { try body() }) }).toOpaque())
  pthread_detach(thread)
  return result
}

private final class ThreadBody {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}
