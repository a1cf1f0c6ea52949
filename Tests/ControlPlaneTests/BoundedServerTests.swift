import Discovery
import Foundation
import Glibc
import Identity
import KubernetesAPI
import Logging
import NIOCore
import NIOHTTP1
import Testing

@testable import ControlPlane

@Suite struct ConnectionBoundTests {
  @Test func theLongestIdleMakesRoom() {
    var bound = ConnectionBound<Int>(maximum: 3)
    let first = (1...3).map { bound.admit($0) }
    #expect(first == [.admitted, .admitted, .admitted])
    bound.touch(1)
    let second = bound.admit(4)
    bound.begin(3)
    bound.end(3)
    let others = [bound.admit(5), bound.admit(6)]
    #expect(second == .inPlaceOf(2) && others == [.inPlaceOf(1), .inPlaceOf(4)])
  }

  @Test func onlyThoseThatWaitForAnAnswerStay() {
    var bound = ConnectionBound<Int>(maximum: 2)
    for id in 1...2 {
      _ = bound.admit(id)
      bound.begin(id)
    }
    let full = bound.admit(3)
    bound.end(2)
    let answered = bound.admit(4)
    bound.remove(1)
    let left = bound.admit(5)
    #expect([full, answered, left] == [.refused, .inPlaceOf(2), .admitted])
  }

  @Test func whatIsSaidOfAConnectionThatHasGoneCountsNothing() {
    var bound = ConnectionBound<Int>(maximum: 1)
    _ = bound.admit(1)
    _ = bound.admit(2)
    bound.touch(1)
    bound.begin(1)
    bound.end(1)
    bound.remove(1)
    let third = bound.admit(3)
    #expect(third == .inPlaceOf(2))
  }
}

@Suite struct HealthTests {
  @Test func itLivesWhileItsWorkGoesOn() {
    let health = Health()
    let now = NIODeadline.now()
    health.beat(now: now)
    #expect(health.answer(.GET, "/healthz/live", now: now + .seconds(60)).0 == .ok)
    let (status, text) = health.answer(.GET, "/healthz/live", now: now + .seconds(90))
    #expect(status == .serviceUnavailable && text == "hangs for 90 s\n")
    health.beat(now: now + .seconds(90))
    #expect(health.answer(.GET, "/healthz/live", now: now + .seconds(91)).0 == .ok)
  }

  @Test func whatIsAsked() {
    let health = Health()
    #expect(health.answer(.GET, "/healthz/ready").0 == .serviceUnavailable)
    health.isReady = true
    #expect(health.answer(.HEAD, "/healthz/ready?verbose").0 == .ok)
    #expect(health.answer(.POST, "/healthz/ready").0 == .methodNotAllowed)
    #expect(health.answer(.GET, "/").0 == .notFound)
  }
}

/// A client's end of a connection; it waits for ten seconds at most.
private final class Client {
  private let descriptor: Int32

  init(_ port: Int) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var limit = timeval(tv_sec: 10, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    let isConnected = withUnsafePointer(to: &address) { [descriptor] pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    try #require(isConnected)
  }

  deinit { close(descriptor) }

  func say(_ text: String) { _ = send(descriptor, text, text.utf8.count, Int32(MSG_NOSIGNAL)) }

  /// What comes next.
  func hear() -> String {
    var buffer = [UInt8](repeating: 0, count: 1024)
    let count = recv(descriptor, &buffer, buffer.count, 0)
    return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
  }

  /// Whether the server closes it.
  func isClosed() -> Bool {
    var byte: UInt8 = 0
    let count = recv(descriptor, &byte, 1, 0)
    return count == 0 || count < 0 && errno == ECONNRESET
  }
}

/// Sends back what comes; `w` is a whole request, `a` its answer.
private final class Echo: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let connection: BoundedConnection

  init(_ connection: BoundedConnection) { self.connection = connection }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    for byte in unwrapInboundIn(data).readableBytesView {
      if byte == UInt8(ascii: "w") { connection.requestIsWhole() }
      if byte == UInt8(ascii: "a") { connection.requestIsAnswered() }
    }
    context.writeAndFlush(data, promise: nil)
  }
}

@Suite(.timeLimit(.minutes(1))) struct BoundedServerTests {
  /// A server on a free port of the loopback, for as long as the body runs.
  /// - Parameter server: tells its port.
  private func serve(
    _ server: @escaping @Sendable (@escaping @Sendable (Int) -> Void) async throws -> Void,
    _ body: (Int) async throws -> Void
  ) async throws {
    let (ports, told) = AsyncStream<Int>.makeStream()
    let task = Task {
      defer { told.finish() }
      try await server { port in told.yield(port) }
    }
    defer { task.cancel() }
    for await port in ports {
      try await body(port)
      task.cancel()
    }
    try await task.value
  }

  private static func echo(
    _ maximum: Int, patience: TimeAmount, _ listens: @escaping @Sendable (Int) -> Void
  ) async throws {
    try await BoundedServer.run(
      to: "send back", host: "127.0.0.1", port: 0, maximumConnections: maximum, patience: patience, listens: listens
    ) { pipeline, connection in
      try pipeline.addHandler(Echo(connection))
    }
  }

  @Test func idleConnectionsKeepNoProbeOut() async throws {
    try await serve({ listens in
      try await HealthServer.run(host: "127.0.0.1", port: 0, health: Health(), work: { true }, listens: listens)
    }) { port in
      let idle = try (0..<HealthServer.maximumConnections).map { _ in try Client(port) }
      for _ in 0..<3 {
        let probe = try Client(port)
        probe.say("GET /healthz/live HTTP/1.1\r\nhost: x\r\n\r\n")
        #expect(probe.hear().hasPrefix("HTTP/1.1 200 OK\r\n"))
      }
      #expect(idle[0].isClosed())
    }
  }

  @Test func idleConnectionsKeepNoReviewOut() async throws {
    let temporary = try TemporaryFolder()
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let authority = try CertificateAuthority(stateDirectory: "\(temporary.path)/state", trustDomain: .clusterLocal)
    let webhook = WebhookServer(
      certificate: try ServerCertificate(authority: authority, names: ["127.0.0.1"], lifetime: 600, logger: logger),
      judge: { _ in AdmissionReview.Answer() }, logger: logger, maximumConnections: 8)
    try await serve({ listens in
      try await webhook.run(host: "127.0.0.1", port: 0, listens: listens)
    }) { port in
      let idle = try (0..<8).map { _ in try Client(port) }
      // A client of API servers posts to a kind's path: here it is a query.
      var server = try APIServer(url: "https://127.0.0.1:\(port)\(WebhookServer.path)?")
      server.isUnverified = true
      let client = try KubernetesClient(server)
      let review: JSONNode = [
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": ["uid": "u1", "operation": "DELETE"],
      ]
      let answer = try? await client.create(review, as: KubernetesResource(version: "v1", plural: "pods"))
      await client.shutdown()
      #expect(answer?["response"]?["allowed"] == true)
      #expect(idle[0].isClosed())
    }
  }

  @Test func aNewConnectionIsRefusedWhereAllWaitForAnAnswer() async throws {
    try await serve({ try await Self.echo(2, patience: .minutes(5), $0) }) { port in
      let clients = try (0..<2).map { _ in try Client(port) }
      for client in clients {
        client.say("w")
        #expect(client.hear() == "w")
      }
      let client = try Client(port)
      #expect(client.isClosed())
      clients[0].say("a")
      #expect(clients[0].hear() == "a")
      let next = try Client(port)
      next.say("x")
      #expect(next.hear() == "x")
      #expect(clients[0].isClosed())
      clients[1].say("a")
      #expect(clients[1].hear() == "a")
    }
  }

  @Test func aConnectionWithoutARequestIsClosed() async throws {
    try await serve({ try await Self.echo(8, patience: .milliseconds(100), $0) }) { port in
      let client = try Client(port)
      #expect(client.isClosed())
    }
  }
}
