import Foundation
import Testing

@testable import AgentCore

@Suite struct AdminRequestTests {
  @Test(arguments: ["/v1/status", "/v1/endpoints/shop/web-1.a", "/healthz/ready"]) func paths(_ path: String) {
    #expect(AdminRequest.isPath(path))
  }

  @Test(arguments: [
    "", "/", "v1/status", "/metrics", "/v1/../x", "/v1/a b", "/v1/a\r\nx: y", "/v1/é", "/v1/a?b",
    "/v1/" + String(repeating: "a", count: 1024),
  ]) func otherPaths(_ path: String) {
    #expect(!AdminRequest.isPath(path))
  }

  @Test func answers() throws {
    let text = "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\nconnection: close\r\n\r\n{}"
    #expect(
      try AdminRequest.answer(in: Array(text.utf8), from: "s")
        == AdminRequest.Answer(status: 503, body: Array("{}".utf8)))
  }

  @Test(arguments: [
    "", "SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n{}", "HTTP/1.1 x OK\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{}",
  ]) func otherAnswers(_ text: String) {
    #expect(throws: AgentError.self) { try AdminRequest.answer(in: Array(text.utf8), from: "s") }
  }

  @Test func aRunningServer() async throws {
    let folder = "/tmp/weft-admin-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let socket = "\(folder)/agent.sock"
    #expect(throws: AgentError.self) { try AdminRequest.get("/v1/status", socket: socket) }
    let server = try await AdminServer.start(path: socket) { path in
      path == "/v1/status" ? AdminAnswer(status: 200, body: Data(path.utf8)) : .failure(404, "no")
    }
    #expect(try AdminRequest.get("/v1/status", socket: socket) == .init(status: 200, body: Array("/v1/status".utf8)))
    #expect(try AdminRequest.get("/v1/other", socket: socket).status == 404)
    await server.stop()
  }
}
