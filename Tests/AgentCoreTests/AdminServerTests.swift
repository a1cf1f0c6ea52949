import Foundation
import Glibc
import Testing

@testable import AgentCore

@Suite(.timeLimit(.minutes(1))) struct AdminServerTests {
  private let folder: TemporaryFolder
  private var path: String { folder.path + "/agent.sock" }

  init() throws { folder = try TemporaryFolder() }

  private func withServer(_ body: () async throws -> Void) async throws {
    let server = try await AdminServer.start(path: path) { path in
      path == "/v1/status" ? AdminAnswer(status: 200, body: Data(#"{"node":"east"}"#.utf8)) : .failure(404, "not known")
    }
    try await body()
    await server.stop()
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  /// What comes back for the bytes until the server closes, or is silent for ten seconds.
  private func exchange(_ request: String) async throws -> String {
    let path = self.path
    return try await onThread {
      guard let fd = ControlSocket.connect(path) else { throw AgentError("nobody listens") }
      defer { close(fd) }
      var rest = Array(request.utf8)[...]
      var answer: [UInt8] = []
      var buffer = [UInt8](repeating: 0, count: 64 << 10)
      while true {
        var poller = pollfd(fd: fd, events: Int16(POLLIN) | (rest.isEmpty ? 0 : Int16(POLLOUT)), revents: 0)
        guard poll(&poller, 1, 10_000) == 1 else { break }
        if poller.revents & Int16(POLLIN | POLLHUP | POLLERR) != 0 {
          let count = read(fd, &buffer, buffer.count)
          guard count > 0 else { break }
          answer += buffer[..<count]
        } else if !rest.isEmpty {
          let count = rest.withUnsafeBytes { send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
          guard count > 0 else { break }
          rest = rest.dropFirst(count)
        }
      }
      return String(decoding: answer, as: UTF8.self)
    }
  }

  @Test func answersAreJSONOnASocketOfRootsAlone() async throws {
    try await withServer {
      let answer = try await exchange("GET /v1/status?x=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
      #expect(answer.contains("application/json"))
      #expect(answer.hasSuffix(#"{"node":"east"}"#))
      var info = stat()
      #expect(stat(path, &info) == 0 && info.st_mode & 0o777 == 0o600)
    }
  }

  @Test func unknownPathsAndOtherMethods() async throws {
    try await withServer {
      let unknown = try await exchange("GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      #expect(unknown.hasPrefix("HTTP/1.1 404") && unknown.hasSuffix(#"{"error":"not known"}"#))
      let post = try await exchange(
        "POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
      #expect(post.hasPrefix("HTTP/1.1 405") && post.contains("allow: GET") && post.contains("only answers GET"))
    }
  }

  @Test func severalRequestsOnOneConnection() async throws {
    try await withServer {
      let answer = try await exchange(
        "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      #expect(answer.components(separatedBy: "HTTP/1.1 200 OK").count == 3)
    }
  }

  @Test func garbageHugeBodiesAndHugeHeadsEndTheConnection() async throws {
    try await withServer {
      #expect(try await exchange("\u{16}\u{3}\u{1}garbage\r\n\r\n").hasPrefix("HTTP/1.1 400"))
      let body = String(repeating: "x", count: 1 << 20)
      let huge = try await exchange(
        "GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
      #expect(huge.hasPrefix("HTTP/1.1 413") && !huge.contains("east"))
      let head = try await exchange("GET /\(String(repeating: "a", count: 1 << 20)) HTTP/1.1\r\n\r\n")
      #expect(!head.contains("200 OK"))
      #expect(try await exchange("GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").contains("east"))
    }
  }

  @Test func moreConnectionsThanTheBoundAreClosed() async throws {
    try await withServer {
      var open: [Int32] = []
      for _ in 0..<AdminServer.connectionsBound { open.append(try #require(ControlSocket.connect(path))) }
      let isRefused = try await eventually {
        try await exchange("GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").isEmpty
      }
      #expect(isRefused)
      for fd in open { close(fd) }
      let isServed = try await eventually {
        try await exchange("GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").contains("east")
      }
      #expect(isServed)
    }
  }

  @Test func aStaleSocketIsReplacedAndAMissingFolderIsASentence() async throws {
    close(try ControlSocket.listen(path))
    try await withServer {
      let answer = try await exchange("GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      #expect(answer.contains("east"))
    }
    await #expect(throws: AgentError.self) {
      _ = try await AdminServer.start(path: folder.path + "/no/agent.sock") { _ in .failure(500, "") }
    }
  }
}
