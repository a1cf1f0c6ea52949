import Glibc
import MeshModel
import ProxyCore

/// An attempt to open a stream to one endpoint: it is settled once, by a stream, a failure or its deadline, or
/// cancelled without a word.
final class StreamOpening: Timed, UpstreamOpening {
  typealias Completion = (Result<any ByteStream, StreamFailure>) -> Void

  private let loop: EventLoop
  private var completion: Completion?
  private var step: (deadline: NanoTime, abandon: () -> Void, failed: (StreamFailure) -> Void)?

  fileprivate init(loop: EventLoop, completion: @escaping Completion) {
    self.loop = loop
    self.completion = completion
  }

  var isSettled: Bool { completion == nil }

  /// Ends the attempt; its completion is not called.
  func cancel() {
    completion = nil
    endStep()?.abandon()
  }

  /// What is under way: after `timeout` nanoseconds `abandon` lets it go and `failed` says what comes next.
  fileprivate func begin(
    timeout: NanoTime, abandon: @escaping () -> Void, failed: @escaping (StreamFailure) -> Void
  ) {
    loop.startTimer(self)
    step = (loop.now + timeout, abandon, failed)
  }

  func timerFired(now: NanoTime) {
    guard let step, step.deadline <= now else { return }
    _ = endStep()
    step.abandon()
    step.failed(.timeout)
  }

  @discardableResult
  fileprivate func endStep() -> (deadline: NanoTime, abandon: () -> Void, failed: (StreamFailure) -> Void)? {
    guard let step else { return nil }
    self.step = nil
    loop.stopTimer(self)
    return step
  }

  fileprivate func settle(_ result: Result<any ByteStream, StreamFailure>) {
    endStep()
    let completion = completion
    self.completion = nil
    if let completion { return completion(result) }
    if case .success(let stream) = result { stream.reset() }
  }
}

/// Whither, and for whom, a stream is opened.
struct StreamTarget {
  /// The workload whose sockets and identity are used where the stream leaves a pod.
  var source: String
  /// What the application at the other end sees as its client; nil: the socket's own address.
  var client: SocketAddress?
  var endpoint: OutboundRoute.Endpoint
  /// Nanoseconds for the whole attempt.
  var timeout = StreamTarget.connectTimeout

  static let connectTimeout: NanoTime = .seconds(5)
}

extension Worker {
  /// Inside a pod an answer takes microseconds.
  private static let loopbackTimeout: NanoTime = .milliseconds(200)

  /// Opens a stream; `completion` is called once, perhaps before this returns, unless the attempt is cancelled.
  func open(_ target: StreamTarget, completion: @escaping StreamOpening.Completion) -> StreamOpening {
    let opening = StreamOpening(loop: loop, completion: completion)
    let address = target.endpoint.address
    switch target.endpoint.transport {
    case .delivery: deliver(opening, target, pod: pods[target.endpoint.workloadID])
    case .plaintext:
      connect(opening, over: pods[target.source]?.pool(.egress(address.ip)), to: address, timeout: target.timeout) {
        opening.settle($0)
      }
    case .tunnel(let expected): tunnel(opening, target, expected: expected)
    }
    return opening
  }

  /// To an application of this node, in its own namespace, under its client's address.
  private func deliver(_ opening: StreamOpening, _ target: StreamTarget, pod: PodContext?) {
    let address = target.endpoint.address
    let pool = pod?.pool(.delivery(address.ip))
    guard address.ip.family == .v6 else {
      return connect(opening, over: pool, to: address, client: target.client, timeout: target.timeout) {
        opening.settle($0)
      }
    }
    // A closed port's RST to ::1 doesn't arrive: the kernel looks for a route by the device that holds the pod's address
    // (RFC 4007 scoping). Silence therefore means "refused" or "busy", and a socket that leaves from the pod's own
    // address learns which.
    connect(opening, over: pool, to: address, client: target.client, timeout: Self.loopbackTimeout) {
      [unowned self] result in
      guard case .failure(.timeout) = result, !opening.isSettled else { return opening.settle(result) }
      connect(
        opening, over: pod?.pool(.egress(address.ip)), to: address, client: target.client, timeout: target.timeout
      ) { opening.settle($0) }
    }
  }

  private func tunnel(_ opening: StreamOpening, _ target: StreamTarget, expected: SPIFFEID) {
    let address = target.endpoint.address
    let request = HBONERequest(authority: address.description, client: target.client?.description ?? "")
    let cancel = tunnels.open(
      request, key: TunnelPool.Key(source: target.source, destination: address.ip), expected: expected
    ) { result in opening.settle(result.map { $0 as any ByteStream }) }
    if !opening.isSettled { opening.begin(timeout: target.timeout, abandon: cancel) { opening.settle(.failure($0)) } }
  }

  private func connect(
    _ opening: StreamOpening, over pool: SocketPool?, to address: SocketAddress, client: SocketAddress? = nil,
    timeout: NanoTime, _ completed: @escaping StreamOpening.Completion
  ) {
    guard let pool else { return completed(.failure(.noSockets)) }
    pool.take(now: loop.now) { [unowned self] fd in
      guard let fd else { return completed(.failure(.noSockets)) }
      guard !opening.isSettled else { return pool.giveBack(fd) }
      if let client { CaptureOptions.setClientAddress(fd, client) }
      if case .failed(let code) = Socket.connect(fd, to: address) {
        pool.giveBack(fd)
        return completed(.failure(.system(code)))
      }
      start(fd, opening, pool, timeout, completed)
    }
  }

  private func start(
    _ fd: Int32, _ opening: StreamOpening, _ pool: SocketPool, _ timeout: NanoTime,
    _ completed: @escaping StreamOpening.Completion
  ) {
    var upstream: TCPStream?
    do {
      upstream = try TCPStream(fd: fd, loop: loop, pool: pool) { failure in
        let stream = upstream
        upstream = nil
        opening.endStep()
        guard failure == nil, let stream else { return completed(.failure(failure ?? .reset)) }
        completed(.success(stream))
      }
    } catch {
      close(fd)
      return completed(.failure(.system(error.code)))
    }
    let abandon = {
      let stream = upstream
      upstream = nil
      stream?.reset()
    }
    opening.begin(timeout: timeout, abandon: abandon) { completed(.failure($0)) }
  }
}
