import FoundationEssentials
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// Asks an agent's admin API: HTTP/1.1 over its Unix socket, one connection per question.
struct AgentClient {
  var socketPath: String
  /// What to do where no socket is.
  var advice = "Start weft-agent on this node"
  /// From the connect to the last byte.
  var timeout: TimeAmount = .seconds(5)
  /// Bytes of an answer's body.
  var bodyLimit = 64 << 20

  /// The body of a 200; a `Failure` for everything else.
  func get(_ path: String) async throws -> Data {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let promise = loop.makePromise(of: AgentResponse.self)
    let deadline = loop.scheduleTask(in: timeout) { promise.fail(AgentClientError.timeout) }
    defer { deadline.cancel() }
    let bodyLimit = bodyLimit
    let channel: any Channel
    do {
      channel = try await ClientBootstrap(group: loop)
        .connectTimeout(timeout)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHTTPClientHandlers()
            try channel.pipeline.syncOperations.addHandler(ResponseCollector(promise, bodyLimit: bodyLimit))
          }
        }
        .connect(unixDomainSocketPath: socketPath).get()
    } catch {
      promise.fail(error)
      throw failure(error, path)
    }
    let head = HTTPRequestHead(
      version: .http1_1, method: .GET, uri: path, headers: ["Host": "weft", "Connection": "close"])
    do {
      channel.write(HTTPClientRequestPart.head(head), promise: nil)
      try await channel.writeAndFlush(HTTPClientRequestPart.end(nil)).get()
    } catch {
      // An answer may have come all the same; if not, the collector says that the connection ended.
    }
    do {
      let response = try await promise.futureResult.get()
      channel.close(promise: nil)
      return try body(of: response, path)
    } catch let failure as Failure {
      throw failure
    } catch {
      channel.close(promise: nil)
      throw failure(error, path)
    }
  }

  private func body(of response: AgentResponse, _ path: String) throws -> Data {
    guard response.status != 200 else { return response.body }
    struct Problem: Decodable { var error: String }
    let text = String(decoding: response.body.prefix(1_000), as: UTF8.self)
    let reason = (try? JSONDecoder().decode(Problem.self, from: response.body))?.error ?? text
    throw Failure(
      message: "The agent answered \(path) with status \(response.status): \(Text.printable(reason))",
      status: .unhealthy)
  }

  private func failure(_ error: any Error, _ path: String) -> Failure {
    let reason: String
    switch error {
    case AgentClientError.timeout:
      reason = "it didn't answer \(path) in \(timeout.nanoseconds / 1_000_000_000) s; its log may say why"
    case AgentClientError.tooLong: reason = "its answer to \(path) is longer than \(bodyLimit >> 20) MiB"
    case AgentClientError.closed, HTTPParserError.invalidEOFState:
      reason = "it ended the connection before its answer to \(path) was complete"
    case is HTTPParserError: reason = "what answers \(path) there doesn't speak HTTP"
    case let error as IOError: reason = ioReason(error.errnoCode)
    case is SocketAddressError: reason = "a socket's path has at most 107 bytes"
    default: reason = "\(error)"
    }
    return Failure(message: "The agent isn't reachable at \(socketPath): \(reason).", status: .unreachable)
  }

  private func ioReason(_ code: CInt) -> String {
    switch code {
    case ENOENT: "no such socket. \(advice)"
    case ECONNREFUSED: "nobody listens there, so weft-agent isn't running; start it"
    case EACCES, EPERM: "permission denied; run this as root"
    default: String(cString: strerror(code))
    }
  }
}
