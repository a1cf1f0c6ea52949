import Glibc

/// A question to a running agent's admin API: `weft-agent admin PATH`, which the CLI executes in the agent's container.
public enum AdminRequest {
  public struct Answer: Equatable, Sendable {
    public var status: Int
    public var body: [UInt8]
  }

  /// Bytes of an answer.
  static let maximumBytes = 64 << 20

  /// Paths that can be asked for: `/v1/…` and `/healthz/…` of letters, digits, `-`, `.`, `_` and `/`, up to 1,024 bytes.
  public static func isPath(_ path: String) -> Bool {
    guard path.hasPrefix("/v1/") || path.hasPrefix("/healthz/"), path.utf8.count <= 1024, !path.contains("..") else {
      return false
    }
    return path.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"):
        true
      default: "-._/".utf8.contains(byte)
      }
    }
  }

  /// - Parameters:
  ///   - socket: the agent's `agent.sock`.
  ///   - seconds: that it may be silent.
  /// - Throws: `AgentError` where nobody answers, or something else than an agent does.
  public static func get(_ path: String, socket: String, seconds: Int = 10) throws -> Answer {
    let descriptor = try connect(socket, seconds)
    defer { close(descriptor) }
    let request = "GET \(path) HTTP/1.1\r\nhost: weft\r\nconnection: close\r\n\r\n"
    var rest = Array(request.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard count > 0 else { throw AgentError("the agent at \(socket) ended the connection") }
      rest = rest.dropFirst(count)
    }
    return try answer(in: try read(descriptor, socket, seconds), from: socket)
  }

  private static func connect(_ path: String, _ seconds: Int) throws -> CInt {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else {
      throw AgentError("\(path): a socket's path has at most 107 bytes")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw AgentError("no socket can be made: \(String(cString: strerror(errno)))") }
    var patience = timeval(tv_sec: seconds, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, size)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, size)
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard result == 0 else {
      let reason = String(cString: strerror(errno))
      close(descriptor)
      throw AgentError("no agent answers at \(path): \(reason)")
    }
    return descriptor
  }

  /// All that comes until the end.
  private static func read(_ descriptor: CInt, _ socket: String, _ seconds: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = recv(descriptor, &piece, piece.count, 0)
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw AgentError("the agent at \(socket) said nothing for \(seconds) s") }
      if count == 0 { return bytes }
      bytes += piece[..<count]
      guard bytes.count <= maximumBytes else { throw AgentError("the agent's answer is longer than 64 MiB") }
    }
  }

  /// - Parameter bytes: a whole answer of HTTP/1.1 with its length, as the admin API gives it.
  static func answer(in bytes: [UInt8], from socket: String) throws -> Answer {
    let end = Array("\r\n\r\n".utf8)
    guard let split = bytes.indices.prefix(16 << 10).first(where: { bytes[$0...].starts(with: end) }) else {
      throw AgentError("what answers at \(socket) is no agent")
    }
    let lines = String(decoding: bytes[..<split], as: UTF8.self).split(separator: "\r\n")
    let first = lines.first?.split(separator: " ") ?? []
    guard first.count >= 2, first[0] == "HTTP/1.1", let status = Int(first[1]), (200...599).contains(status),
      let length = lines.first(where: { $0.lowercased().hasPrefix("content-length:") })?.split(separator: ":").last,
      let count = Int(length.drop { $0 == " " })
    else { throw AgentError("what answers at \(socket) is no agent") }
    let body = Array(bytes[(split + end.count)...])
    guard body.count == count else { throw AgentError("the agent at \(socket) ended in the middle of its answer") }
    return Answer(status: status, body: body)
  }
}
