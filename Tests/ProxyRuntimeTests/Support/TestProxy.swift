import CLinux
import DiscoveryAPI
import Glibc
import Synchronization

@testable import ProxyRuntime

/// A proxy's control thread and its workers, as the program starts them.
final class TestProxy: Sendable {
  let path: String
  private let workers: [Mailbox<WorkerCommand>]
  private let control: BackgroundResult<Void>

  /// - Parameter areStuck: the workers take no commands: their mailboxes are full.
  init(workers count: Int = 2, areStuck: Bool = false) throws {
    path = "/tmp/weft-proxy-tests-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"
    let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = TestAgent.address(path)
    let bound = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard bound == 0, listen(listener, 8) == 0 else { throw SystemError(errno, "listen at \(path)") }
    let events = try Mailbox<WorkerEvent>()
    workers = try (0..<count).map { _ in try Mailbox<WorkerCommand>(bound: areStuck ? 0 : 65_536) }
    for (index, commands) in workers.enumerated() where !areStuck {
      _ = inBackground { try Worker(index: index, level: .error, commands: commands, events: events).run() }
    }
    control = inBackground { [workers] in
      try ControlThread(listener: listener, workers: workers, events: events, logger: ProxyLogger(level: .error)).run()
      close(listener)
    }
  }

  /// Waits until the control thread has come to its end.
  func finished() throws { try control.get() }

  func stop() {
    if let agent = try? TestAgent(path) {
      try? agent.send { $0.drain = .with { $0.seconds = 0 } }
      try? finished()
    }
    for worker in workers { worker.post(.stop) }
    unlink(path)
  }
}

/// The agent's end of the control connection.
final class TestAgent {
  let socket: TestSocket
  private var input: [UInt8] = []
  private(set) var descriptors: [Int32] = []

  init(_ path: String) throws {
    socket = TestSocket(fd: Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0))
    var address = Self.address(path)
    let connected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(socket.fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard connected == 0 else { throw SystemError(errno, "connect to \(path)") }
  }

  deinit {
    socket.close()
    for fd in descriptors { close(fd) }
  }

  static func address(_ path: String) -> sockaddr_un {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    return address
  }

  func send(_ descriptors: [Int32] = [], _ fill: (inout Weft_Proxy_V1_ToProxy) -> Void) throws {
    var message = Weft_Proxy_V1_ToProxy()
    fill(&message)
    let payload: [UInt8] = try message.serializedBytes()
    try send(payload, descriptors)
  }

  func send(_ payload: [UInt8], _ descriptors: [Int32] = []) throws {
    let bytes = (0..<4).map { UInt8(truncatingIfNeeded: payload.count >> (24 - 8 * $0)) } + payload
    let sent = bytes.withUnsafeBytes {
      weft_send_with_fds(socket.fd, $0.baseAddress, $0.count, descriptors, Int32(descriptors.count))
    }
    guard sent > 0 else { throw SystemError(Int32(-sent), "send") }
    try socket.write(Array(bytes[sent...]))
  }

  /// The next message; its descriptors are added to `descriptors`.
  func receive() throws -> Weft_Proxy_V1_FromProxy {
    while true {
      if input.count >= 4 {
        let length = input.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        if input.count >= 4 + length {
          let message = try Weft_Proxy_V1_FromProxy(serializedBytes: Array(input[4..<4 + length]))
          input.removeFirst(4 + length)
          return message
        }
      }
      var poll = pollfd(fd: socket.fd, events: Int16(POLLIN), revents: 0)
      guard Glibc.poll(&poll, 1, 10_000) == 1 else { throw SystemError(ETIMEDOUT, "receive a message") }
      var buffer = [UInt8](repeating: 0, count: 65_536)
      var incoming = [Int32](repeating: -1, count: 253)
      var count: Int32 = 0
      let length = weft_receive_with_fds(socket.fd, &buffer, buffer.count, &incoming, 253, &count)
      guard length > 0 else { throw SystemError(length == 0 ? EPIPE : Int32(-length), "receive a message") }
      input += buffer[..<length]
      descriptors += incoming.prefix(Int(count))
    }
  }

  /// The next message that `pick` takes; others are passed over.
  func receive<T>(_ pick: (Weft_Proxy_V1_FromProxy) -> T?) throws -> T {
    while true {
      if let picked = pick(try receive()) { return picked }
    }
  }

  func hello() throws -> Weft_Proxy_V1_Hello {
    guard case .hello(let hello) = try receive().body else { throw SystemError(EPROTO, "be greeted") }
    return hello
  }

  func query(_ what: String, id: UInt64 = 1) throws -> String {
    try send { $0.query = .with { ($0.id, $0.what) = (id, what) } }
    return try receive { message in
      guard case .queryReply(let reply) = message.body, reply.id == id else { return nil }
      return String(decoding: reply.json, as: UTF8.self)
    }
  }
}
