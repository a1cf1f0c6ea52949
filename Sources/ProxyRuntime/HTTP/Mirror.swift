import MeshModel
import ProxyCore

/// The copy of a request, whose answer nobody sees. It never holds up the request: what its endpoint doesn't take at once,
/// beyond a bound, ends the copy.
final class MirrorUpstream: UpstreamOwner {
  private static let bufferBound = 256 << 10
  /// A copy that isn't answered by then is let go.
  private static let patience: NanoTime = .seconds(15)
  /// Of one event loop: what comes above it isn't copied.
  static let bound = 4096

  private let worker: Worker
  private var upstream: (any Upstream)?
  private var opening: (any UpstreamOpening)?
  private var head: HTTPHead
  private let framing: HTTP1Reader.Framing
  private var buffered: [UInt8] = []
  private var isWhole = false
  private var trailers: HTTPHead?
  private var isDone = false
  private var alarm: Alarm?
  /// Its place among the requests of the Service that it goes to.
  private let requestSlot: CircuitLimits

  /// nil: there is no room for another.
  init?(worker: Worker, cluster: Cluster, head: HTTPHead, framing: HTTP1Reader.Framing) {
    guard worker.mirrorCount < Self.bound, cluster.policy.limits.tryAcquire(.requests) else { return nil }
    worker.mirrorCount += 1
    requestSlot = cluster.policy.limits
    self.worker = worker
    self.head = head
    self.framing = framing
  }

  func start(_ client: HTTPClient, _ target: OutboundRoute.Endpoint, isHTTP2: Bool, cluster: Cluster) {
    worker.keepAlive(self)
    alarm = worker.loop.after(Self.patience) { [unowned self] in abandon() }
    let key = UpstreamPool.Key(source: client.workload, target: target, limits: cluster.policy.limits)
    if let upstream = worker.upstreams.take(key, isHTTP2: isHTTP2) { return send(over: upstream) }
    // A copy waits for no place.
    let slot = isHTTP2 ? nil : cluster.takeSlot()
    guard isHTTP2 || slot != nil else { return end() }
    let attempt = worker.upstreams.open(
      key, isHTTP2: isHTTP2, for: client, cluster: cluster, slot: slot, mayWait: false, worker: worker
    ) { [weak self] result in
      guard case .success(let upstream) = result else { return self?.end() ?? () }
      guard let self, !isDone else { return upstream.abandon() }
      opening = nil
      send(over: upstream)
      upstream.flush()
    }
    if !attempt.isSettled { opening = attempt }
  }

  private func send(over upstream: any Upstream) {
    self.upstream = upstream
    upstream.owner = self
    upstream.send(head, framing: framing, upgrade: false)
    if !buffered.isEmpty { buffered.withUnsafeBytes { upstream.sendBody($0) } }
    buffered = []
    if isWhole { upstream.finishRequest(trailers: trailers) }
  }

  func sendBody(_ bytes: UnsafeRawBufferPointer) {
    guard !isDone else { return }
    guard let upstream else {
      guard buffered.count + bytes.count <= Self.bufferBound else { return abandon() }
      buffered.append(contentsOf: bytes)
      return
    }
    if upstream.isBlocked { return abandon() }
    upstream.sendBody(bytes)
  }

  func finishRequest(trailers: HTTPHead?) {
    isWhole = true
    self.trailers = trailers
    upstream?.finishRequest(trailers: trailers)
  }

  func flush() { upstream?.flush() }

  /// The request that it copies is over: a copy that isn't whole can't become so.
  func orphan() { if !isWhole { abandon() } }

  private func abandon() {
    guard !isDone else { return }
    opening?.cancel()
    upstream?.abandon()
    end()
  }

  private func end() {
    guard !isDone else { return }
    isDone = true
    requestSlot.release(.requests)
    worker.mirrorCount -= 1
    alarm?.cancel()
    opening = nil
    upstream = nil
    worker.release(self)
  }

  // MARK: The answer

  func responded(_ head: inout HTTPHead, framing: HTTP1Reader.Framing, isInformational: Bool) {}
  func received(_ bytes: UnsafeRawBufferPointer) {}
  func responseEnded(trailers: HTTPHead?) { end() }
  func upgraded(to upgrade: Upgrade) {
    upgrade.refuse()
    end()
  }
  func upstreamFailed(_ failure: UpstreamFailure) { end() }
  func upstreamUnblocked() {}
  func eventEnded() {}
}

extension Exchange {
  func copy(to mirrors: [MirrorFilter]) {
    for mirror in mirrors where mirror.takes(draw: worker.loop.random.next()) { copy(to: mirror.mirror) }
  }

  /// Sends a copy of the request, as it is now, to one of a Service's endpoints.
  private func copy(to mirror: Mirror) {
    let cluster = worker.cluster(mirror.service, mirror.port, client.family, client: client.identity)
    cluster.refresh(worker, here: worker.snapshot.workload(id: client.workload))
    guard let index = cluster.endpoints.choose(now: worker.loop.now, random: &worker.loop.random) else { return }
    guard let copied = MirrorUpstream(worker: worker, cluster: cluster, head: head, framing: framing) else { return }
    copied.start(client, cluster.targets[index], isHTTP2: usesHTTP2(cluster), cluster: cluster)
    mirrors.append(copied)
    // What came during an injected delay.
    if !kept.isEmpty { kept.withUnsafeBytes { copied.sendBody($0) } }
    if requestEnded { copied.finishRequest(trailers: requestTrailers) }
  }
}
