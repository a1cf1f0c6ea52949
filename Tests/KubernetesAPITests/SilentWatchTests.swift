import Foundation
import Glibc
import Testing

@testable import KubernetesAPI

@Suite struct SilentWatchTests {
  /// An older server tells nothing of a kind that doesn't change: no error, and nothing to warn of.
  @Test func aWatchThatSaysNothingEnds() async throws {
    let (listener, port) = try Self.listen()
    defer { close(listener) }
    let thread = Thread {
      let connection = accept(listener, nil, nil)
      var request = [UInt8](repeating: 0, count: 4096)
      _ = read(connection, &request, request.count)
      let event = #"{"type":"ADDED","object":{"metadata":{"name":"a","namespace":"n","resourceVersion":"7"}}}"# + "\n"
      let answer =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        + "\(String(event.utf8.count, radix: 16))\r\n\(event)\r\n"
      _ = write(connection, answer, answer.utf8.count)
      // Until the client has gone.
      while read(connection, &request, request.count) > 0 {}
      close(connection)
    }
    thread.start()
    let client = try KubernetesClient(APIServer(url: "http://127.0.0.1:\(port)"), silence: .seconds(3))
    var names: [String] = []
    try await client.watch(KubernetesResource(version: "v1", plural: "pods"), from: "1") { event in
      if case .changed(let object) = event { names.append(object.name) }
    }
    #expect(names == ["a"])
    await client.shutdown()
  }

  static func listen() throws -> (descriptor: Int32, port: UInt16) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 && Glibc.listen(descriptor, 1) == 0
          && getsockname(descriptor, $0, &length) == 0
      }
    }
    try #require(isBound)
    return (descriptor, UInt16(bigEndian: address.sin_port))
  }
}
