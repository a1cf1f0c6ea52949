import CLinux
import DiscoveryAPI
import Glibc
import MeshModel
import ProxyCore

/// The proxy's main thread: talks with the agent, prepares what workers need, and hands it to them.
final class ControlThread: Timed {
  private let loop: EventLoop
  private let logger: ProxyLogger
  private let workers: [Mailbox<WorkerCommand>]
  private var state = ProxyState()
  private var agent: FrameSocket?
  private var acceptor: AgentAcceptor?
  private var mailboxSource: MailboxSource<WorkerEvent>?
  /// Pods whose listeners have come, with more to follow.
  private var arrived: Set<String> = []
  private var requests: [SocketRequest: [Int]] = [:]
  private var queries: [UInt64: PendingQuery] = [:]
  private var drainDeadline: NanoTime?
  /// With a successor: replies to datagrams that are under way have their time.
  private var drainsUntil: NanoTime = 0
  private static let datagramPatience: NanoTime = .seconds(2)
  /// With a successor: when connections that wait for a client's next request end too. What this proxy knows of the mesh grows
  /// old: only what is under way has more time.
  private var endsIdleAt: NanoTime?
  private static let idlePatience: NanoTime = .seconds(30)
  private var drained: Set<Int> = []

  private struct SocketRequest: Hashable {
    let id: String
    let kind: SocketKind
  }

  private struct PendingQuery {
    let what: String
    let scope: ReportScope
    let deadline: NanoTime
    var reports: [WorkerReport] = []
  }

  init(
    listener: Int32, workers: [Mailbox<WorkerCommand>], events: Mailbox<WorkerEvent>, logger: ProxyLogger
  ) throws(SystemError) {
    self.workers = workers
    self.logger = logger
    loop = try EventLoop()
    let source = MailboxSource(events) { [unowned self] in perform($0) }
    mailboxSource = source
    try loop.add(source, events: 1)
    let acceptor = AgentAcceptor(fd: listener) { [unowned self] in accepted($0) }
    self.acceptor = acceptor
    try loop.add(acceptor, events: 1)
    loop.startTimer(self)
  }

  func run() { loop.run() }

  private func log(_ level: LogLevel, _ message: String) { logger.log(level, message) }

  // MARK: The agent

  /// The newest agent wins: the one before it is dead, or about to be.
  private func accepted(_ fd: Int32) {
    var uid: uid_t = 0
    guard weft_peer_uid(fd, &uid) == 0, uid == 0 else {
      log(.warning, "a control connection of uid \(uid) is refused: only root's agent is heard")
      close(fd)
      return
    }
    agent?.close("another agent has connected")
    state.forgetParts()
    do {
      agent = try FrameSocket(
        fd: fd, loop: loop, received: { [unowned self] in received($0, $1) },
        closed: { [unowned self] reason in
          agent = nil
          serveArrived()
          // Answers to these went with it.
          requests = [:]
          queries = [:]
          log(.info, "agent gone: \(reason)")
        })
      greet()
    } catch {
      close(fd)
      log(.error, "\(error)")
    }
  }

  /// Says what this proxy serves, in frames of at most 253 descriptors.
  private func greet() {
    var rest = state.pods.sorted { $0.key < $1.key }[...]
    repeat {
      var hello = Weft_Proxy_V1_Hello()
      hello.pid = UInt32(getpid())
      var descriptors: [Int32] = []
      while let (id, pod) = rest.first, descriptors.count + pod.listeners.count <= 253 {
        rest.removeFirst()
        descriptors += pod.listeners.map(\.fd)
        hello.pods.append(
          .with {
            $0.uid = id
            $0.listeners = pod.listeners.map(\.kind.message)
          })
      }
      hello.more = !rest.isEmpty
      agent?.send(Weft_Proxy_V1_FromProxy.with { $0.hello = hello }, descriptors: descriptors)
    } while !rest.isEmpty
  }

  private func received(_ frame: [UInt8], _ takeDescriptors: (Int) -> [Int32]) {
    let message: Weft_Proxy_V1_ToProxy
    do {
      message = try Weft_Proxy_V1_ToProxy(serializedBytes: frame)
    } catch {
      agent?.close("a frame that is no message")
      return
    }
    switch message.body {
    case .addPod(let pod): add(pod, takeDescriptors(pod.listeners.count))
    case .removePod(let pod):
      state.remove(pod: pod.uid)
      for kind in SocketKind.allCases { requests[SocketRequest(id: pod.uid, kind: kind)] = nil }
      broadcast(.removePod(id: pod.uid, runsOn: pod.runsOn))
    case .sockets(let batch): distribute(batch, takeDescriptors(128))
    case .mesh(let update): apply(update)
    case .identity(let identity):
      attempt("identity \(identity.spiffeID)") {
        if let made = try state.set(identity) { broadcast(.identity(made)) }
      }
    case .trustBundle(let bundle):
      let (made, failures) = state.set(bundle)
      for identity in made { broadcast(.identity(identity)) }
      for failure in failures { log(.error, "trust bundle: \(failure)") }
    case .query(let query): ask(query)
    case .drain(let drain):
      drainDeadline = loop.now + .seconds(UInt64(drain.seconds))
      if drain.successor {
        drainsUntil = loop.now + Self.datagramPatience
        endsIdleAt = loop.now + Self.idlePatience
      }
      broadcast(.drain(hasSuccessor: drain.successor))
    case nil: log(.warning, "a message of the agent's that this proxy doesn't know is ignored")
    }
  }

  private func attempt(_ what: String, _ body: () throws -> Void) {
    do { try body() } catch { log(.error, "\(what): \(error)") }
  }

  private func add(_ pod: Weft_Proxy_V1_AddPod, _ descriptors: [Int32]) {
    let kinds = pod.listeners.compactMap { ListenerKind($0) }
    if kinds.count == pod.listeners.count, kinds.count == descriptors.count {
      state.add(pod: pod.uid, listeners: Array(zip(kinds, descriptors)))
      arrived.insert(pod.uid)
    } else {
      for fd in descriptors { close(fd) }
      let numbers = "\(pod.listeners.count) listeners, \(descriptors.count) descriptors"
      refuse(pod.uid, numbers + ": the proxy's limit of open files is too low")
    }
    if !pod.more { serveArrived() }
  }

  /// Hands those pods to the workers whose listeners have come.
  private func serveArrived() {
    let pods = arrived.compactMap { id in state.pods[id].map { (id: id, listeners: $0.listeners) } }
    arrived = []
    guard !pods.isEmpty else { return }
    var isServed = true
    for (index, worker) in workers.enumerated() {
      let added = pods.map { pod in
        // One worker answers a pod's datagrams, since it alone knows what it asked upstream.
        let resolver = Int(pod.id.utf8.reduce(5381 as UInt32) { $0 &* 33 &+ UInt32($1) }) % workers.count
        let own = pod.listeners.filter { index == resolver || ($0.kind != .dns && $0.kind != .dnsUpstream) }
        return AddedPod(id: pod.id, listeners: own.map { ($0.kind, fcntl($0.fd, F_DUPFD_CLOEXEC, 3)) })
      }
      if !post(.addPods(added), to: worker, descriptors: added.flatMap { $0.listeners.map(\.1) }) { isServed = false }
    }
    // The agent must not lead connections to where nobody accepts them.
    guard isServed else {
      for pod in pods { refuse(pod.id, "a worker of the proxy is stuck") }
      return
    }
    for pod in pods { agent?.send(Weft_Proxy_V1_FromProxy.with { $0.podReady.uid = pod.id }) }
  }

  private func refuse(_ pod: String, _ reason: String) {
    log(.error, "pod \(pod) isn't served: \(reason)")
    agent?.send(
      Weft_Proxy_V1_FromProxy.with {
        $0.podRefused.uid = pod
        $0.podRefused.reason = reason
      })
  }

  /// To the worker that asked first; a batch that nobody asked for is spread.
  private func distribute(_ batch: Weft_Proxy_V1_SocketBatch, _ descriptors: [Int32]) {
    guard let kind = SocketKind(batch.kind), state.pods[batch.uid] != nil else {
      for fd in descriptors { close(fd) }
      return
    }
    let request = SocketRequest(id: batch.uid, kind: kind)
    if var waiting = requests[request], !waiting.isEmpty {
      let worker = waiting.removeFirst()
      requests[request] = waiting.isEmpty ? nil : waiting
      post(.sockets(id: batch.uid, kind: kind, descriptors), to: workers[worker], descriptors: descriptors)
      return
    }
    for (index, worker) in workers.enumerated() {
      let own = stride(from: index, to: descriptors.count, by: workers.count).map { descriptors[$0] }
      if !own.isEmpty { post(.sockets(id: batch.uid, kind: kind, own), to: worker, descriptors: own) }
    }
  }

  private func apply(_ update: Weft_Proxy_V1_MeshUpdate) {
    var answer = Weft_Proxy_V1_MeshAck()
    answer.version = update.version
    do {
      if try state.apply(update) { broadcast(.snapshot(state.snapshot)) }
    } catch {
      answer.error = error.description
    }
    agent?.send(Weft_Proxy_V1_FromProxy.with { $0.meshAck = answer })
  }

  private func ask(_ query: Weft_Proxy_V1_Query) {
    guard queries.count < 64 else { return }
    let scope = ReportScope(what: query.what, service: query.service)
    queries[query.id] = PendingQuery(what: query.what, scope: scope, deadline: loop.now + .seconds(1))
    broadcast(.report(query: query.id, scope))
  }

  private func broadcast(_ command: WorkerCommand) {
    for worker in workers { post(command, to: worker, descriptors: []) }
  }

  /// - Parameter descriptors: those that the command brings; closed where the worker doesn't take it.
  @discardableResult
  private func post(_ command: WorkerCommand, to worker: Mailbox<WorkerCommand>, descriptors: [Int32]) -> Bool {
    guard !worker.post(command) else { return true }
    for fd in descriptors { close(fd) }
    log(.error, "a worker doesn't take commands: it is stuck")
    return false
  }

  // MARK: Workers

  private func perform(_ event: WorkerEvent) {
    switch event {
    case .needsSockets(let worker, let id, let kind, let count):
      guard state.pods[id] != nil, let agent else { return }
      let request = SocketRequest(id: id, kind: kind)
      if requests[request]?.contains(worker) != true { requests[request, default: []].append(worker) }
      agent.send(
        Weft_Proxy_V1_FromProxy.with {
          $0.needSockets.uid = id
          $0.needSockets.kind = kind.message
          $0.needSockets.count = UInt32(count)
        })
    case .report(_, let query, let report):
      queries[query]?.reports.append(report)
      if queries[query]?.reports.count == workers.count { answer(query) }
    case .log(let level, let message): log(level, message)
    case .drained(let worker):
      drained.insert(worker)
      if drained.count == workers.count, loop.now >= drainsUntil { finishDraining() }
    }
  }

  private func answer(_ id: UInt64) {
    guard let query = queries.removeValue(forKey: id) else { return }
    let json = ProxyDump(reports: query.reports, snapshot: state.snapshot, service: query.scope.service)
      .json(query.what)
    agent?.send(
      Weft_Proxy_V1_FromProxy.with {
        $0.queryReply.id = id
        $0.queryReply.json = .init(json)
      })
  }

  func timerFired(now: NanoTime) {
    for (id, query) in queries where query.deadline <= now { answer(id) }
    if let end = endsIdleAt, now >= end {
      endsIdleAt = nil
      broadcast(.drain(hasSuccessor: false))
    }
    if let drainDeadline, now >= drainDeadline || (drained.count == workers.count && now >= drainsUntil) {
      finishDraining()
    }
  }

  private func finishDraining() {
    agent?.send(Weft_Proxy_V1_FromProxy.with { $0.drained = .init() })
    loop.stop()
  }
}

/// Accepts the agent's connections.
private final class AgentAcceptor: EventSource {
  private let accepted: (Int32) -> Void

  init(fd: Int32, accepted: @escaping (Int32) -> Void) {
    self.accepted = accepted
    super.init(fd: fd)
  }

  override func handle(_ events: UInt32) {
    var address = sockaddr_un()
    var length = socklen_t(MemoryLayout<sockaddr_un>.size)
    let fd = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { weft_accept(self.fd, $0, &length) }
    }
    if fd >= 0 { accepted(fd) }
  }
}
