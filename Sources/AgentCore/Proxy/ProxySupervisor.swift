import CLinux
import DiscoveryAPI
import Foundation
import Logging

/// Keeps one proxy running: finds the living one of an agent before, or starts one, and starts the next when it dies.
actor ProxySupervisor {
  struct Configuration: Sendable {
    var program: String
    var socketPath: String
    var cgroup: String?
    var uid: UInt32
    var workers: Int
    var logLevel: String
  }

  enum Event: Sendable {
    /// A proxy answers; these are the pods that it serves already, each with its listeners.
    case connected(ProxyLink, inventory: [(uid: String, listeners: [Weft_Proxy_V1_Listener], descriptors: [Int32])])
    case message(Weft_Proxy_V1_FromProxy)
    case lost(String)
  }

  enum State: String, Sendable { case starting, running, stopped }

  nonisolated let events: AsyncStream<Event>
  private let continuation: AsyncStream<Event>.Continuation
  private let configuration: Configuration
  private let logger: Logger
  private var policy = RestartPolicy()
  private var link: ProxyLink?
  private var inventory: [(uid: String, listeners: [Weft_Proxy_V1_Listener], descriptors: [Int32])] = []
  private(set) var pid: Int32 = 0
  private(set) var state = State.starting
  private var isStopping = false

  init(_ configuration: Configuration, logger: Logger) {
    self.configuration = configuration
    self.logger = logger
    (events, continuation) = AsyncStream.makeStream()
  }

  var restarts: Int { policy.restarts }

  /// Until `stop` or `leave`.
  func run() async {
    var living = ControlSocket.connect(configuration.socketPath)
    if living != nil { logger.info("a living proxy is taken over") }
    while !isStopping {
      let started = DispatchTime.now().uptimeNanoseconds
      state = .starting
      let reason: String
      do throws(AgentError) {
        reason = try await serve(living)
      } catch {
        reason = error.description
      }
      living = nil
      pid = 0
      link = nil
      state = .stopped
      guard !isStopping else { break }
      continuation.yield(.lost(reason))
      let delay = policy.died(now: DispatchTime.now().uptimeNanoseconds, started: started)
      logger.error(
        "the proxy is gone, the next one starts",
        metadata: ["reason": "\(reason)", "delay_ms": "\(delay / 1_000_000)", "restarts": "\(policy.restarts)"])
      if delay > 0 { try? await Task.sleep(nanoseconds: delay) }
    }
    continuation.finish()
  }

  /// One proxy's life; returns why it ended.
  private func serve(_ living: Int32?) async throws(AgentError) -> String {
    var exit: Task<String, Never>?
    let fd: Int32
    if let living {
      fd = living
    } else {
      let listener = try ControlSocket.listen(configuration.socketPath)
      defer { close(listener) }
      let child = try spawn(listener)
      exit = Self.waitForEnd(of: child)
      // The listening socket is there already: this waits for no one.
      guard let connected = ControlSocket.connect(configuration.socketPath) else {
        kill(child, SIGKILL)
        throw AgentError("can't connect to the proxy that was just started at \(configuration.socketPath)")
      }
      fd = connected
    }
    let link = ProxyLink(fd: fd)
    self.link = link
    inventory = []
    var reason = "the connection ended"
    for await event in link.events {
      switch event {
      case .message(let message, let descriptors): received(message, descriptors)
      case .closed(let why): reason = why
      }
    }
    guard !isStopping else { return reason }
    // A proxy that let go of the socket but lives would hold the listeners: it has to go.
    if pid > 0 { kill(pid, SIGKILL) }
    if let exit { reason = await exit.value }
    return reason
  }

  private func received(_ message: Weft_Proxy_V1_FromProxy, _ descriptors: [Int32]) {
    guard case .hello(let hello) = message.body else {
      continuation.yield(.message(message))
      return
    }
    pid = Int32(hello.pid)
    var rest = descriptors[...]
    for pod in hello.pods {
      inventory.append((pod.uid, pod.listeners, Array(rest.prefix(pod.listeners.count))))
      rest = rest.dropFirst(pod.listeners.count)
    }
    guard !hello.more else { return }
    state = .running
    if let link { continuation.yield(.connected(link, inventory: inventory)) }
    inventory = []
  }

  private func spawn(_ listener: Int32) throws(AgentError) -> Int32 {
    let child = try Self.spawn(configuration, listener)
    pid = child
    return child
  }

  private static func spawn(_ configuration: Configuration, _ listener: Int32) throws(AgentError) -> Int32 {
    let arguments = [
      configuration.program, "--control-fd", "3", "--workers", "\(configuration.workers)", "--log-level",
      configuration.logLevel,
    ]
    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    let cgroup: UnsafeMutablePointer<CChar>? = configuration.cgroup.flatMap { strdup($0) }
    defer {
      for pointer in pointers { free(pointer) }
      free(cgroup)
    }
    var step: UnsafePointer<CChar>?
    let child = pointers.withUnsafeMutableBufferPointer { argv in
      var request = weft_spawn(
        path: argv[0], argv: argv.baseAddress, inherited_fd: listener, cgroup: cgroup, uid: configuration.uid)
      return weft_spawn_proxy(&request, &step)
    }
    guard child > 0 else {
      throw .system("start \(configuration.program): \(step.map { String(cString: $0) } ?? "start")", -child)
    }
    return child
  }

  /// On a thread of its own: waiting for a child blocks.
  private static func waitForEnd(of child: Int32) -> Task<String, Never> {
    Task {
      await withCheckedContinuation { continuation in
        Thread.detachNewThread {
          let status = weft_wait_child(child)
          continuation.resume(
            returning: status >= 256 ? "killed by signal \(status - 256)" : "ended with status \(status)")
        }
      }
    }
  }

  /// Ends the supervision and leaves the proxy running, for the agent after this one.
  func leave() {
    isStopping = true
    link?.close()
  }

  /// Lets the proxy finish what is open, and ends it.
  func stop(drainSeconds: UInt32) async {
    isStopping = true
    let proxy = pid
    link?.send(.with { $0.drain.seconds = drainSeconds })
    let end = Date.now.addingTimeInterval(Double(drainSeconds) + 1)
    while proxy > 0, kill(proxy, 0) == 0, Date.now < end { try? await Task.sleep(for: .milliseconds(20)) }
    if proxy > 0, kill(proxy, 0) == 0 { kill(proxy, SIGKILL) }
    link?.close()
    unlink(configuration.socketPath)
  }
}
