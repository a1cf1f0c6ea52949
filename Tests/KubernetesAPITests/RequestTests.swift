import Foundation
import Glibc
import Testing

@testable import KubernetesAPI

@Suite struct RequestTests {
  /// What a client's first request says to a server that answers it.
  private static func asked(
    date: String = "", _ ask: (KubernetesClient) async throws -> Void
  ) async throws -> String {
    let (listener, port) = try SilentWatchTests.listen()
    defer { close(listener) }
    let (requests, continuation) = AsyncStream<String>.makeStream()
    let thread = Thread {
      let connection = accept(listener, nil, nil)
      var bytes = [UInt8](repeating: 0, count: 4096)
      let count = read(connection, &bytes, bytes.count)
      continuation.yield(String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self))
      continuation.finish()
      let answer = "HTTP/1.1 200 OK\r\n\(date)content-length: 2\r\nconnection: close\r\n\r\n{}"
      _ = write(connection, answer, answer.utf8.count)
      close(connection)
    }
    thread.start()
    var server = try APIServer(url: "http://127.0.0.1:\(port)")
    server.credential = .token("t")
    server.impersonation = Impersonation(user: "jane", uid: "7", groups: ["a", "b c"])
    let client = try KubernetesClient(server)
    try await ask(client)
    await client.shutdown()
    return await requests.first { _ in true } ?? ""
  }

  @Test(.timeLimit(.minutes(1))) func everyRequestSaysAsWhom() async throws {
    let request = try await Self.asked { _ = try await $0.document("/version") }
    let exec = try await Self.asked { _ = try? await $0.exec(["true"], namespace: "n", pod: "p") }
    for field in [
      "authorization: Bearer t", "impersonate-user: jane", "impersonate-uid: 7", "impersonate-group: a",
      "impersonate-group: b c",
    ] {
      #expect(request.contains("\r\n\(field)\r\n"), "\(request)")
      #expect(exec.contains("\r\n\(field)\r\n"), "\(exec)")
    }
    #expect(request.hasPrefix("GET /version ") && exec.hasPrefix("GET /api/v1/namespaces/n/pods/p/exec?"))
  }

  @Test(.timeLimit(.minutes(1))) func theServerTellsItsClock() async throws {
    var told: Date?
    _ = try await Self.asked(date: "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n") {
      told = try await $0.datedDocument("/version").date
    }
    #expect(told == Date(timeIntervalSince1970: 784_111_777))
    _ = try await Self.asked { told = try await $0.datedDocument("/version").date }
    #expect(told == nil)
  }

  @Test(arguments: [
    "", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Nox 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 CET", "Sun, xx Nov 1994 08:49:37 GMT", "Sat, 31 Feb 2026 08:49:37 GMT",
    "Sun, 06 Nov 1994 99:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT ",
  ])
  func whatIsNoDate(_ text: String) {
    #expect(HTTPDate.read(text) == nil)
  }
}
