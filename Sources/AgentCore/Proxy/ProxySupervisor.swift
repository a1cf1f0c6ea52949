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
    /// Seconds that a proxy may take to say hello.
    var patience = 5.0
  }

  typealias Inventory = (uid: String, listeners: [Weft_Proxy_V1_Listener], descriptors: [Int32])

  enum Event: Sendable {
    /// A proxy answers; these are the pods that it serves already, each with its listeners.
    case connected(ProxyLink, inventory: [Inventory])
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
  private var process: ProxyProcess?
  private var inventory: [Inventory] = []
  private(set) var state = State.starting
  private var isStopping = false

  init(_ configuration: Configuration, logger: Logger) {
    self.configuration = configuration
    self.logger = logger
    (events, continuation) = AsyncStream.makeStream()
  }

  var restarts: Int { policy.restarts }
  /// 0 where none runs.
  var pid: Int32 { process?.pid ?? 0 }

  /// Until `stop` or `leave`; not to be cancelled before.
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
      process = nil
      link = nil
      state = .stopped
      for fd in inventory.flatMap(\.descriptors) { close(fd) }
      inventory = []
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
    let fd: Int32
    if let living {
      fd = living
    } else {
      // One that lost its socket would keep the pods' ports.
      ProxyProcess.killAll(in: configuration.cgroup, uid: configuration.uid)
      let listener = try ControlSocket.listen(configuration.socketPath)
      defer { close(listener) }
      let process = try ProxyProcess(starting: configuration, listener: listener)
      self.process = process
      // The listening socket is there already: this waits for no one.
      guard let connected = ControlSocket.connect(configuration.socketPath) else {
        process.kill()
        _ = await process.end()
        throw AgentError("can't connect to the proxy that was just started at \(configuration.socketPath)")
      }
      fd = connected
    }
    let link = ProxyLink(fd: fd)
    self.link = link
    let impatience = Task {
      try await Task.sleep(for: .seconds(configuration.patience))
      if state == .starting { link.close("it said no hello in \(configuration.patience) s") }
    }
    defer { impatience.cancel() }
    for await (message, descriptors) in link.events { received(message, descriptors) }
    guard !isStopping, let process else { return link.reason }
    // A proxy that let go of the socket but lives would hold the listeners: it has to go.
    process.kill()
    let end = await process.end()
    return "\(link.reason); \(end)"
  }

  private func received(_ message: Weft_Proxy_V1_FromProxy, _ descriptors: [Int32]) {
    guard case .hello(let hello) = message.body else {
      continuation.yield(.message(message))
      return
    }
    if process == nil {
      // What a proxy says of itself is only believed where it can be seen: its pid will be sent signals.
      process = ProxyProcess(adopting: Int32(truncatingIfNeeded: hello.pid), uid: configuration.uid)
      if process == nil {
        for fd in descriptors { close(fd) }
        link?.close("it says to be process \(hello.pid), which is none of user \(configuration.uid)")
        return
      }
    }
    var rest = descriptors[...]
    for pod in hello.pods {
      inventory.append((pod.uid, pod.listeners, Array(rest.prefix(pod.listeners.count))))
      rest = rest.dropFirst(pod.listeners.count)
    }
    guard !hello.more, let link else { return }
    state = .running
    continuation.yield(.connected(link, inventory: inventory))
    inventory = []
  }

  /// Ends the supervision and leaves the proxy running, for the agent after this one.
  func leave() {
    isStopping = true
    link?.close()
  }

  /// Lets the proxy finish what is open, and ends it.
  func stop(drainSeconds: UInt32) async {
    isStopping = true
    if let process, let link {
      link.send(.with { $0.drain.seconds = drainSeconds })
      let deadline = Task {
        try await Task.sleep(for: .seconds(Double(drainSeconds) + 1))
        process.kill()
      }
      _ = await process.end()
      deadline.cancel()
      link.close()
    }
    unlink(configuration.socketPath)
  }
}
