import Glibc
import MeshModel
import ProxyCore

/// One thread of the data plane: an event loop, the pods' listeners as it serves them, and all sessions that it
/// accepted. Nothing of it is shared; the control thread reaches it by `Mailbox`.
final class Worker {
  /// Sessions without a byte in either direction end after this time.
  static let idleTimeout: NanoTime = .seconds(3600)
  private static let sweepInterval: NanoTime = .seconds(1)
  static let sessionsBound = 200_000

  let index: Int
  let loop: EventLoop
  let level: LogLevel
  private(set) var snapshot = MeshSnapshot()
  private(set) var pods: [String: PodContext] = [:]
  /// Counts the changes of the snapshot and of the pods: what was derived from them holds while it stays.
  private(set) var epoch: UInt64 = 0
  private(set) var podEpoch: UInt64 = 0
  var views: [ServiceView.Key: ServiceView] = [:]
  var clusters: [Cluster.Key: Cluster] = [:]
  /// Copies of requests that are under way.
  var mirrorCount = 0
  private(set) lazy var upstreams = UpstreamPool(loop: loop)
  var statistics = Statistics()
  var date = HTTPDate()
  private(set) var isDraining = false

  private var identities: [SPIFFEID: TLSIdentity] = [:]
  private var sessions: [UInt64: Session] = [:]
  /// Connections of HTTP, and those that haven't said yet what they speak.
  var connections: [ObjectIdentifier: any HTTPConnection] = [:]
  var probes: [ObjectIdentifier: ProtocolSniff] = [:]
  private var nextSession: UInt64 = 0
  private var kept: [ObjectIdentifier: AnyObject] = [:]
  private var nextSweep: NanoTime = 0
  private let events: Mailbox<WorkerEvent>
  private(set) lazy var tunnels = TunnelPool(worker: self)
  private var mailboxSource: MailboxSource<WorkerCommand>?

  init(
    index: Int, level: LogLevel, commands: Mailbox<WorkerCommand>, events: Mailbox<WorkerEvent>
  ) throws(SystemError) {
    self.index = index
    self.level = level
    self.events = events
    loop = try EventLoop()
    let source = MailboxSource(commands) { [unowned self] in perform($0) }
    mailboxSource = source
    try loop.add(source, events: 1)
    loop.startTimer(self)
  }

  func run() { loop.run() }

  func log(_ level: LogLevel, _ message: @autoclosure () -> String) {
    guard level >= self.level else { return }
    if !events.post(.log(level, message())) { statistics.droppedLogs += 1 }
  }

  func identity(of workloadID: String) -> TLSIdentity? {
    guard let id = snapshot.workload(id: workloadID)?.identity(in: snapshot.config.trustDomain) else { return nil }
    return identities[id]
  }

  // MARK: Commands

  private func perform(_ command: WorkerCommand) {
    switch command {
    case .snapshot(let snapshot): use(snapshot)
    case .identity(let identity): identities[identity.id] = identity
    case .addPods(let added): addPods(added)
    case .removePod(let id, let runsOn): removePod(id, runsOn: runsOn)
    case .sockets(let id, let kind, let sockets):
      if let pod = pods[id] {
        pod.pool(kind).add(sockets, now: loop.now)
      } else {
        for fd in sockets { close(fd) }
      }
    case .report(let query, let scope): events.post(.report(worker: index, query: query, report(scope)))
    case .drain(let hasSuccessor): drain(hasSuccessor: hasSuccessor)
    case .stop: loop.stop()
    }
  }

  private func use(_ snapshot: MeshSnapshot) {
    self.snapshot = snapshot
    epoch += 1
    // Made again at the next request; what nobody asks for any more goes.
    views = views.filter { snapshot.traffic(of: $0.key.service, port: $0.key.port) === $0.value.traffic }
    for (key, cluster) in clusters where !isWanted(key) {
      clusters[key] = nil
      cluster.retire()
      while upstreams.yieldSlot(of: cluster) {}
    }
  }

  private func isWanted(_ key: Cluster.Key) -> Bool {
    guard let route = key.route else { return snapshot.traffic(of: key.service, port: key.port) != nil }
    return snapshot.traffic(of: route.service, port: route.port)?.shapesBackends(ofRoute: route.id) == true
  }

  private func addPods(_ added: [AddedPod]) {
    for pod in added where pods[pod.id] == nil { pods[pod.id] = makePod(pod.id) }
    podEpoch += 1
    epoch += 1
    for added in added {
      guard let pod = pods[added.id] else { continue }
      pod.stopListening()
      do {
        try listen(pod, added.listeners)
      } catch {
        log(.error, "pod \(pod.id): \(error)")
      }
    }
  }

  private func makePod(_ id: String) -> PodContext {
    PodContext(id: id) { [events, index] kind, count in
      events.post(.needsSockets(worker: index, id: id, kind: kind, count: count))
    }
  }

  private func removePod(_ id: String, runsOn: Bool) {
    pods.removeValue(forKey: id)?.close()
    podEpoch += 1
    epoch += 1
    upstreams.drain(workload: id)
    tunnels.drain(source: id)
    if runsOn {
      for server in servers(of: id) { server.tunnel?.drain() }
      return
    }
    for server in servers(of: id) { server.tunnel?.close("the pod is gone") }
    for session in Array(sessions.values) where session.facts.workload == id { session.abort() }
    for connection in Array(connections.values) where connection.facts.workload == id { connection.abort() }
    for probe in Array(probes.values) where probe.workload == id { probe.abort() }
  }

  /// With a successor nothing ends at first that could carry a request; the control thread calls again for what is idle then.
  private func drain(hasSuccessor: Bool) {
    isDraining = true
    for pod in pods.values { pod.stopAccepting() }
    for server in servers() { hasSuccessor ? server.tunnel?.leave() : server.tunnel?.drain() }
    if !hasSuccessor { tunnels.drain() }
    for connection in Array(connections.values) where !hasSuccessor || connection.announcesItsEnd { connection.drain() }
    for probe in Array(probes.values) where !hasSuccessor { probe.drain() }
    finishDraining()
  }

  func finishDraining() {
    guard isDraining, sessions.isEmpty, connections.isEmpty, probes.isEmpty, servers().isEmpty else { return }
    events.post(.drained(worker: index))
  }

  // MARK: Sessions

  /// - Parameter closed: called once, when the session's streams are gone.
  func makeSession(
    _ facts: Session.Facts, downstream: any ByteStream, closed: @escaping (Session) -> Void = { _ in }
  ) -> Session? {
    statistics.accepted += 1
    guard sessions.count < Self.sessionsBound else {
      statistics.refused += 1
      return nil
    }
    nextSession += 1
    let session = Session(id: nextSession, facts: facts, downstream: downstream, loop: loop) { [unowned self] session in
      sessions[session.id] = nil
      closed(session)
      finishDraining()
    }
    sessions[session.id] = session
    return session
  }

  /// Keeps an object while its tunnels close, after whoever owned it let it go.
  func keepAlive(_ object: AnyObject) { kept[ObjectIdentifier(object)] = object }
  func release(_ object: AnyObject) {
    kept[ObjectIdentifier(object)] = nil
    finishDraining()
  }

  /// Whose streams arrive at that pod, or at any.
  private func servers(of id: String? = nil) -> [TunnelServer] {
    kept.values.compactMap { $0 as? TunnelServer }.filter { id == nil || $0.workloadID == id }
  }

  func report(_ scope: ReportScope = ReportScope(what: "", service: "")) -> WorkerReport {
    var report = WorkerReport()
    report.statistics = statistics
    report.connectionCount = sessions.count + connections.count
    report.connections = sessions.values.prefix(ProxyDump.rowsBound).map { session in
      WorkerReport.Connection(
        id: session.id << 8 | UInt64(index), facts: session.facts,
        carried: session.facts.isTunnelled ? .hbone : .tcp, bytesSent: session.bytesSent,
        bytesReceived: session.bytesReceived,
        ageSeconds: Double(loop.now - session.opened) / 1e9, isEstablished: session.isEstablished)
    }
    report.connections += connections.values.prefix(ProxyDump.rowsBound - report.connections.count).map {
      WorkerReport.Connection(
        id: nil, facts: $0.facts, carried: $0 is HTTP2Downstream ? .http2 : .http1, bytesSent: nil,
        bytesReceived: nil,
        ageSeconds: Double(loop.now - $0.opened) / 1e9, isEstablished: true)
    }
    if scope.hasEndpoints {
      report.endpoints = endpointLoads(of: scope.service)
    }
    report.pods = pods.keys.sorted()
    report.pooledSockets = pods.values.reduce(0) { $0 + $1.pooledSockets }
    report.tunnels = tunnels.tunnelCount
    report.identities = identities.keys.map(\.description).sorted()
    return report
  }
}

extension Worker: Timed {
  func timerFired(now: NanoTime) {
    for pod in pods.values { pod.expire(now: now) }
    for cluster in clusters.values { while cluster.owesSlot, upstreams.yieldSlot(of: cluster) {} }
    guard now >= nextSweep else { return }
    nextSweep = now + Self.sweepInterval
    for session in Array(sessions.values) where now > session.lastActive + session.idleTimeout { session.abort() }
    for connection in Array(connections.values) { connection.closeIfIdle(now: now) }
    tunnels.sweep(now: now)
    upstreams.sweep(now: now)
  }
}
