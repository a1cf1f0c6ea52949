import FoundationEssentials
import Glibc
import NIOCore
import NIOPosix
import Testing

@testable import CLI

@Suite struct AgentClientTests {
  /// Serves one connection with these bytes, then closes it if told to; the client's socket path is given to `body`.
  private static func serving<Result: Sendable>(
    _ response: String, closes: Bool = true, _ body: (String) async throws -> Result
  ) async throws -> Result {
    // Short: a socket's path has at most 107 bytes.
    let path = "/tmp/weft-cli-\(getpid())-\(UInt32.random(in: 0...UInt32.max)).sock"
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(Responder(response, closes: closes))
        }
      }
      .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: false).get()
    do {
      let result = try await body(path)
      try await server.close()
      return result
    } catch {
      try? await server.close()
      throw error
    }
  }

  private final class Responder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let response: String
    private let closes: Bool

    init(_ response: String, closes: Bool) {
      self.response = response
      self.closes = closes
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let written = context.writeAndFlush(NIOAny(ByteBuffer(string: response)))
      let channel = context.channel
      if closes { written.whenComplete { _ in channel.close(promise: nil) } }
    }
  }

  private static func failure(
    _ response: String, closes: Bool = true, bodyLimit: Int = 1_000, timeout: TimeAmount = .seconds(5)
  ) async throws -> Failure {
    try await serving(response, closes: closes) { path in
      do {
        let body = try await AgentClient(socketPath: path, timeout: timeout, bodyLimit: bodyLimit).get("/v1/status")
        throw Failure(message: "got \(body.count) bytes", status: .fine)
      } catch let failure as Failure {
        return failure
      }
    }
  }

  @Test func readsTheBody() async throws {
    let response = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    #expect(
      try await Self.serving(response) { try await AgentClient(socketPath: $0).get("/v1/status") } == Data("{}".utf8))
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
    #expect(try await Self.serving(chunked) { try await AgentClient(socketPath: $0).get("/") } == Data("{}".utf8))
  }

  @Test func anErrorOfTheAgents() async throws {
    let body = #"{"error":"no proxy runs"}"#
    let failure = try await Self.failure("HTTP/1.1 503 Busy\r\ncontent-length: \(body.count)\r\n\r\n\(body)")
    #expect(failure.message == "The agent answered /v1/status with status 503: no proxy runs")
    #expect(failure.status == .unhealthy)
    let plain = try await Self.failure("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\na\u{1b}bc")
    #expect(plain.message.hasSuffix("status 404: a\\u{1B}bc"))
  }

  @Test func noAnswerInTime() async throws {
    let failure = try await Self.failure("HTTP/1.1 200 OK\r\n", closes: false, timeout: .milliseconds(100))
    #expect(failure.status == .unreachable && failure.message.contains("didn't answer /v1/status"))
  }

  @Test func anAnswerThatIsCut() async throws {
    let failure = try await Self.failure("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}")
    #expect(failure.status == .unreachable && failure.message.contains("before its answer"))
    #expect(try await Self.failure("").message.contains("before its answer"))
  }

  @Test func anAnswerThatIsTooLong() async throws {
    let long = String(repeating: "x", count: 1_001)
    let failure = try await Self.failure("HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n\(long)")
    #expect(failure.status == .unreachable && failure.message.contains("is longer than"))
  }

  @Test func somethingElseListens() async throws {
    let failure = try await Self.failure("SSH-2.0-OpenSSH\r\n", closes: false)
    #expect(failure.status == .unreachable && failure.message.contains("doesn't speak HTTP"))
  }

  @Test func nobodyListens() async throws {
    let absent = await #expect(throws: Failure.self) {
      try await AgentClient(socketPath: "/tmp/weft-none.sock").get("/")
    }
    #expect(absent?.status == .unreachable && absent?.message.contains("no such socket") == true)
    // A socket's file without its program.
    let path = "/tmp/weft-cli-\(getpid())-dead.sock"
    let socket = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(socket) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    #expect(bound == 0)
    defer { unlink(path) }
    let dead = await #expect(throws: Failure.self) { try await AgentClient(socketPath: path).get("/") }
    #expect(dead?.message.contains("isn't running") == true)
    let long = await #expect(throws: Failure.self) {
      try await AgentClient(socketPath: "/tmp/" + String(repeating: "x", count: 120)).get("/")
    }
    #expect(long?.message.contains("107 bytes") == true)
  }
}
