import NIOCore
import NIOHTTP1
import Synchronization

/// What the probes are told.
final class Health: Sendable {
  /// Longer than anything takes but a hang: 100,000 Pods are compiled in 20 s.
  static let patience = TimeAmount.seconds(60)

  private let ready = Atomic(false)
  private let lastBeat = Atomic(NIODeadline.now().uptimeNanoseconds)

  /// Everything has been read once, and it is served.
  var isReady: Bool {
    get { ready.load(ordering: .relaxed) }
    set { ready.store(newValue, ordering: .relaxed) }
  }

  /// The program's work goes on.
  func beat(now: NIODeadline = .now()) { lastBeat.store(now.uptimeNanoseconds, ordering: .relaxed) }

  /// - Returns: status and text.
  func answer(_ method: HTTPMethod, _ uri: String, now: NIODeadline = .now()) -> (HTTPResponseStatus, String) {
    let path = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).first ?? ""
    switch (path, isReady) {
    case ("/healthz/live", _):
      let silence = now - NIODeadline.uptimeNanoseconds(lastBeat.load(ordering: .relaxed))
      guard silence <= Self.patience else {
        return (.serviceUnavailable, "hangs for \(silence.nanoseconds / 1_000_000_000) s\n")
      }
    case ("/healthz/ready", true): break
    case ("/healthz/ready", false): return (.serviceUnavailable, "not ready: the log says what is waited for\n")
    default: return (.notFound, "/healthz/live and /healthz/ready are here\n")
    }
    guard method == .GET || method == .HEAD else { return (.methodNotAllowed, "GET\n") }
    return (.ok, "ok\n")
  }
}

/// The kubelet's probes, over plain HTTP/1.1.
enum HealthServer {
  /// At a time; see `BoundedServer`.
  static let maximumConnections = 64

  /// Until the task is cancelled; throws where the port can't be had.
  /// - Parameters:
  ///   - work: whether the program's work goes on; asked each second, and mustn't wait: a minute without is a hang.
  ///   - listens: told the port.
  static func run(
    host: String, port: Int, health: Health, work: @escaping @Sendable () -> Bool, listens: (Int) -> Void = { _ in }
  ) async throws {
    health.beat()
    let heart = Task {
      while !Task.isCancelled {
        if work() { health.beat() }
        try? await Task.sleep(for: .seconds(1))
      }
    }
    defer { heart.cancel() }
    // No request is told of here: a connection ends within the patience, whatever it sends.
    try await BoundedServer.run(
      to: "answer probes", host: host, port: port, maximumConnections: maximumConnections, patience: .seconds(10),
      listens: listens
    ) { pipeline, _ in
      try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
      try pipeline.addHandler(HealthHandler(health))
    }
  }
}

private final class HealthHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let health: Health
  private var head: HTTPRequestHead?

  init(_ health: Health) { self.health = health }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    case .body: break
    case .end:
      guard let head else { return }
      let (status, text) = health.answer(head.method, head.uri)
      let fields: HTTPHeaders = [
        "content-type": "text/plain", "content-length": "\(text.utf8.count)", "connection": "close",
      ]
      context.write(wrapOutboundOut(.head(.init(version: .http1_1, status: status, headers: fields))), promise: nil)
      if head.method != .HEAD {
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: text)))), promise: nil)
      }
      let loop = NIOLoopBound(context, eventLoop: context.eventLoop)
      context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in loop.value.close(promise: nil) }
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
