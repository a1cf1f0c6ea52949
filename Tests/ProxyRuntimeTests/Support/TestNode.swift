import CLinux
import Glibc
import MeshModel
import ProxyCore
import Synchronization

@testable import ProxyRuntime

private final class Call: TickParticipant {
  private let body: () -> Void
  init(_ body: @escaping () -> Void) { self.body = body }
  func runInTick() { body() }
}

/// A worker on its own thread, and what the control thread and the agent would do for it: sockets when it asks, logs
/// kept.
final class TestNode: Sendable {
  private let commands: Mailbox<WorkerCommand>
  private let events: Mailbox<WorkerEvent>
  private let calls: Mailbox<@Sendable (Worker) -> Void>
  private let stopped = Atomic(false)
  private let lines = Mutex<[String]>([])
  private let sources = Mutex<[String: String]>([:])
  private let requests = Mutex<[(id: String, count: Int)]>([])
  private let drains = Atomic(0)
  /// Whether requests for sockets are answered.
  let answersRequests = Atomic(true)

  init() throws {
    commands = try Mailbox()
    events = try Mailbox()
    calls = try Mailbox()
    let (commands, events, calls) = (commands, events, calls)
    let started = inBackground {
      let worker = try Worker(index: 0, level: .debug, commands: commands, events: events)
      // After the tick's events: commands that were posted before have been taken then.
      let source = MailboxSource(calls) { call in worker.loop.schedule(Call { call(worker) }) }
      try worker.loop.add(source, events: 1)
      worker.run()
    }
    _ = started
    let agent = inBackground { [weak self] in
      while let self, !self.stopped.load(ordering: .relaxed) { self.serve() }
    }
    _ = agent
  }

  deinit { stop() }

  func stop() {
    stopped.store(true, ordering: .relaxed)
    commands.post(.stop)
  }

  private func serve() {
    var poll = pollfd(fd: events.wakeFD, events: Int16(POLLIN), revents: 0)
    guard Glibc.poll(&poll, 1, 20) == 1 else { return }
    for event in events.take() {
      switch event {
      case .log(_, let line): lines.withLock { $0.append(line) }
      case .needsSockets(_, let id, let kind, let count):
        requests.withLock { $0.append((id, count)) }
        guard answersRequests.load(ordering: .relaxed) else { continue }
        let source = sources.withLock { $0[id] }
        let isDelivery = kind == .deliveryV4 || kind == .deliveryV6
        let sockets = (0..<count).compactMap { _ in try? TestSocket.pooled(from: isDelivery ? nil : source) }
        commands.post(.sockets(id: id, kind: kind, sockets))
      case .drained: drains.add(1, ordering: .relaxed)
      case .report: break
      }
    }
  }

  /// Runs `body` on the worker's thread.
  func on<T: Sendable>(_ body: @escaping @Sendable (Worker) throws -> T) throws -> T {
    let result = BackgroundResult<T>()
    calls.post { worker in result.set(Result { try body(worker) }) }
    return try result.get()
  }

  func post(_ command: WorkerCommand) { commands.post(command) }

  /// A pod whose sockets leave from `source`.
  func addPod(_ id: String, source: String = "127.0.0.1", listeners: [(ListenerKind, Int32)] = []) {
    sources.withLock { $0[id] = source }
    commands.post(.addPods([AddedPod(id: id, listeners: listeners)]))
  }

  func apply(_ update: MeshSnapshotUpdate) throws {
    let snapshot = try on { $0.snapshot }.applying(update)
    post(.snapshot(snapshot))
  }

  func logged(_ text: String) -> Bool {
    eventually { lines.withLock { $0.contains { $0.contains(text) } } }
  }

  var log: [String] { lines.withLock { $0 } }
  var socketRequests: Int { requests.withLock { $0.count } }
  var isDrained: Bool { drains.load(ordering: .relaxed) > 0 }

  /// A listener whose connections go on to `target` as passed-through ones do.
  func relay(pod: String = "shop/a", to target: SocketAddress) throws -> SocketAddress {
    let listener = try TestSocket.listening(isBlocking: false)
    let address = listener.address
    try on { worker in
      let pod = worker.pods[pod]!
      pod.listeners.append(
        try TCPListener(fd: listener.fd, loop: worker.loop, report: { _ in }) { [unowned worker] fd, peer in
          guard let stream = worker.accept(fd) else { return }
          let facts = Session.Facts(direction: .outbound, workload: pod.id)
          worker.dial(stream, .init(address: target, workloadID: "", transport: .plaintext), facts)
        })
    }
    return address
  }

  var sessionCount: Int { get throws { try on { $0.report().connectionCount } } }
}

extension Workload {
  static func at(_ id: String, _ address: String, isMeshed: Bool = true) -> Workload {
    let name = String(id.split(separator: "/")[1])
    return Workload(
      id: id, namespace: "shop", name: name, serviceAccount: "sa-\(name)", node: "one",
      addresses: [IPAddress(address)!],
      isMeshed: isMeshed)
  }
}

extension SPIFFEID {
  static func of(_ name: String) -> SPIFFEID { SPIFFEID("spiffe://cluster.local/ns/shop/sa/sa-\(name)")! }
}

func snapshotUpdate(_ workloads: [Workload], _ config: MeshConfig? = nil) -> MeshSnapshotUpdate {
  var update = MeshSnapshotUpdate()
  update.node = "one"
  update.config = config
  update.workloads = workloads
  return update
}
