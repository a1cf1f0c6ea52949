import Foundation
import Glibc
import KubernetesAPI
import Logging
import Testing

@testable import ControlPlane

@Suite struct EventRecorderTests {
  @Test(arguments: [("{}", 2), (#"{"count":1}"#, 2), (#"{"count":-5}"#, 2), (#"{"count":2147483647}"#, 2_147_483_647)])
  func eachTimeIsCounted(known: String, count: Int) throws {
    let patch = EventText.repetition(of: try JSONReader.read(Array(known.utf8)), time: "t")
    #expect(patch["count"]?.integer == count && patch["lastTimestamp"]?.text == "t")
  }

  /// With the rights that weft-control has: it may create and patch Events.
  @Test(.timeLimit(.minutes(1))) func anEventThatStandsThereIsCountedOn() async throws {
    let server = try Server { request in
      if request.hasPrefix("GET ") { return (200, #"{"metadata":{"uid":"u","resourceVersion":"1"}}"#) }
      if request.hasPrefix("POST ") { return (409, #"{"message":"already exists"}"#) }
      return (200, #"{"metadata":{"resourceVersion":"5"},"count":7}"#)
    }
    defer { server.stop() }
    let client = try KubernetesClient(try APIServer(url: "http://127.0.0.1:\(server.port)"))
    let recorder = EventRecorder(
      client: client, replica: "c", logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let event = try #require(EventText(refused: ObjectKey(kind: .httpRoute, name: ObjectName("shop", "r")), "no"))
    recorder.record(event)
    let running = Task { await recorder.run() }
    var asked: [String] = []
    for await request in server.requests {
      asked.append(request)
      if asked.count == 4 { break }
    }
    running.cancel()
    await client.shutdown()
    try #require(asked.count == 4)
    #expect(asked[0].hasPrefix("GET /apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/r "))
    #expect(asked[1].hasPrefix("POST /api/v1/namespaces/shop/events "))
    let patch = "PATCH /api/v1/namespaces/shop/events/\(event.eventName)?"
    #expect(asked[2].hasPrefix(patch) && asked[2].hasSuffix("\r\n\r\n{}"))
    #expect(asked[3].hasPrefix(patch) && asked[3].hasSuffix(#","count":8}"#))
    #expect(asked[3].contains(#"{"metadata":{"resourceVersion":"5"},"lastTimestamp":""#))
  }
}

/// An API server's HTTP: a connection for each request.
private struct Server {
  let port: UInt16
  let requests: AsyncStream<String>
  private let listener: Int32

  init(_ answer: @escaping @Sendable (String) -> (status: Int, body: String)) throws {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 && listen(descriptor, 8) == 0 && getsockname(descriptor, $0, &length) == 0
      }
    }
    try #require(isBound)
    let (stream, continuation) = AsyncStream<String>.makeStream()
    (port, requests, listener) = (UInt16(bigEndian: address.sin_port), stream, descriptor)
    let thread = Thread {
      while true {
        let connection = accept(descriptor, nil, nil)
        guard connection >= 0 else { return continuation.finish() }
        let request = Self.request(on: connection)
        let (status, body) = answer(request)
        let text =
          "HTTP/1.1 \(status) S\r\ncontent-length: \(body.utf8.count)\r\nconnection: close\r\n\r\n\(body)"
        _ = write(connection, text, text.utf8.count)
        close(connection)
        continuation.yield(request)
      }
    }
    thread.start()
  }

  func stop() {
    shutdown(listener, Int32(SHUT_RDWR))
    close(listener)
  }

  private static func request(on connection: Int32) -> String {
    var text = ""
    var bytes = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(connection, &bytes, bytes.count)
      guard count > 0 else { return text }
      text += String(decoding: bytes.prefix(count), as: UTF8.self)
      let length = text.firstMatch(of: /[Cc]ontent-[Ll]ength: ([0-9]+)/).flatMap { Int($0.1) } ?? 0
      if let end = text.firstRange(of: "\r\n\r\n"), text[end.upperBound...].utf8.count >= length { return text }
    }
  }
}
