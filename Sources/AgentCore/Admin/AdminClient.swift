import Foundation
import Glibc

/// Asks a running agent on its socket.
public enum AdminClient {
  /// Bytes of an answer.
  static let bound = 256 << 20
  /// Seconds that an answer may take between two of its parts.
  static let patience = 10

  /// - Parameter path: as `/v1/status`; printable characters without spaces, at most 2,048.
  /// - Returns: the status and the body.
  public static func get(_ path: String, socket: String) throws -> (status: Int, body: Data) {
    guard path.hasPrefix("/"), path.utf8.count <= 2048, path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
      throw AgentError("\(path.prefix(200)) is no path of the admin API; try /v1/status")
    }
    guard let fd = ControlSocket.connect(socket) else {
      throw AgentError("no agent answers at \(socket): is weft-agent running on this node?")
    }
    defer { close(fd) }
    _ = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK)
    var time = timeval(tv_sec: patience, tv_usec: 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    let request = Array("GET \(path) HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n".utf8)
    guard send(fd, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
      throw AgentError.system("ask the agent at \(socket)", errno)
    }
    var answer = Data()
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = read(fd, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw AgentError.system("read the agent's answer", errno) }
      if count == 0 { break }
      answer += chunk[..<count]
      guard answer.count <= bound else { throw AgentError("the agent's answer has more than \(bound) bytes") }
    }
    return try parse(answer)
  }

  static func parse(_ answer: Data) throws -> (status: Int, body: Data) {
    guard let end = answer.firstRange(of: Data("\r\n\r\n".utf8)),
      let head = String(data: answer[..<end.lowerBound], encoding: .utf8), head.hasPrefix("HTTP/1.1 "),
      let status = Int(head.dropFirst(9).prefix(3))
    else { throw AgentError("the agent's answer is no HTTP") }
    return (status, Data(answer[end.upperBound...]))
  }
}
