import CLinux
import DiscoveryAPI
import Foundation
import Logging

/// Keeps one proxy running: finds the living one of an agent before, or starts one, and starts the next when it dies. On
/// demand it puts another one in its place, while the one before finishes what is open.
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
    /// How long a proxy that was replaced may take to finish what is open.
    var drainSeconds: UInt32 = 600
  }

  typealias Inventory = ProxyLife.Inventory

  enum Event: Sendable {
    /// A proxy answers; these are the pods that it serves already, each with its listeners.
    case connected(ProxyLink, inventory: [Inventory])
    /// This one answers in the place of the one that served until now, which goes on until `retire`.
    case replaced(ProxyLink)
    case message(Weft_Proxy_V1_FromProxy)
    /// Of the one that was replaced.
    case predecessor(Weft_Proxy_V1_FromProxy, ProxyLink)
    case lost(String)
  }

  enum State: String, Sendable { case starting, running, stopped }

  nonisolated let events: AsyncStream<Event>
  private let continuation: AsyncStream<Event>.Continuation
  private let configuration: Configuration
  private let logger: Logger
  private var policy = RestartPolicy()
  private var current: ProxyLife?
  private var candidate: ProxyLife?
  private var predecessor: ProxyLife?
  private var currentEnd: CheckedContinuation<String, Never>?
  private(set) var state = State.starting
  private var isStopping = false

  init(_ configuration: Configuration, logger: Logger) {
    self.configuration = configuration
    self.logger = logger
    (events, continuation) = AsyncStream.makeStream()
  }

  var restarts: Int { policy.restarts }
  /// 0 where none runs.
  var pid: Int32 { current?.process?.pid ?? 0 }
  /// Of the one that finishes what is open; 0 where none does.
  var drainingPID: Int32 { predecessor?.process?.pid ?? 0 }

  /// Until `stop` or `leave`; not to be cancelled before.
  func run() async {
    var living = ControlSocket.connect(configuration.socketPath)
    if living != nil { logger.info("a living proxy is taken over") }
    while !isStopping {
      let started = DispatchTime.now().uptimeNanoseconds
      state = .starting
      let reason: String
      do throws(AgentError) {
        let life = try await begin(living)
        current = life
        follow(life)
        reason = await withCheckedContinuation { currentEnd = $0 }
      } catch {
        reason = error.description
      }
      living = nil
      current = nil
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

  private func begin(_ living: Int32?) async throws(AgentError) -> ProxyLife {
    if let living { return ProxyLife(link: ProxyLink(fd: living), process: nil) }
    // One that lost its socket would keep the pods' ports.
    ProxyProcess.killAll(in: configuration.cgroup, uid: configuration.uid, except: [drainingPID])
    return try await start(at: configuration.socketPath)
  }

  private func start(at path: String) async throws(AgentError) -> ProxyLife {
    let listener = try ControlSocket.listen(path)
    defer { close(listener) }
    let process = try ProxyProcess(starting: configuration, listener: listener)
    // The listening socket is there already: this waits for no one.
    guard let connected = ControlSocket.connect(path) else {
      process.kill()
      _ = await process.end()
      throw AgentError("can't connect to the proxy that was just started at \(path)")
    }
    return ProxyLife(link: ProxyLink(fd: connected), process: process)
  }

  private func follow(_ life: ProxyLife) {
    Task {
      for await (message, descriptors) in life.link.events { received(message, descriptors, life) }
      await ended(life)
    }
    life.impatience = Task {
      try await Task.sleep(for: .seconds(configuration.patience))
      if !life.hasGreeted { life.link.close("it said no hello in \(configuration.patience) s") }
    }
  }

  private func received(_ message: Weft_Proxy_V1_FromProxy, _ descriptors: [Int32], _ life: ProxyLife) {
    guard case .hello(let hello) = message.body else {
      if life === current { continuation.yield(.message(message)) }
      if life === predecessor { continuation.yield(.predecessor(message, life.link)) }
      return
    }
    if life.process == nil {
      // What a proxy says of itself is only believed where it can be seen: its pid will be sent signals.
      life.process = ProxyProcess(adopting: Int32(truncatingIfNeeded: hello.pid), uid: configuration.uid)
      if life.process == nil {
        for fd in descriptors { close(fd) }
        life.link.close("it says to be process \(hello.pid), which is none of user \(configuration.uid)")
        return
      }
      life.isAdopted = true
      endLeftovers(but: Int32(truncatingIfNeeded: hello.pid))
    }
    life.take(hello, descriptors)
    guard !hello.more else { return }
    life.greeted()
    guard life === current else { return }
    state = .running
    continuation.yield(.connected(life.link, inventory: life.takeInventory()))
  }

  private func ended(_ life: ProxyLife) async {
    life.impatience?.cancel()
    life.dropInventory()
    var reason = life.link.reason
    // A proxy that let go of the socket but lives would hold the listeners: it has to go.
    if !isStopping, let process = life.process {
      process.kill()
      reason += "; \(await process.end())"
    }
    life.greeting?.resume(returning: false)
    life.greeting = nil
    if life === predecessor {
      predecessor = nil
      logger.info("the proxy before has ended", metadata: ["reason": "\(reason)"])
    } else if life === current {
      if let before = predecessor, !before.isRetired {
        predecessor = nil
        current = before
        logger.error(
          "the new proxy is gone before it served: the one before goes on", metadata: ["reason": "\(reason)"])
        continuation.yield(.connected(before.link, inventory: []))
      } else {
        currentEnd?.resume(returning: reason)
        currentEnd = nil
      }
    }
  }

  // MARK: Replacing

  /// Whether the running proxy is one of an agent before, of another program than the one that would be started now.
  func isOutdated(forced: Bool) async -> Bool {
    guard let life = current, life.isAdopted, let pid = life.process?.pid else { return false }
    if forced { return true }
    let program = configuration.program
    return await withCheckedContinuation { continuation in
      // Reads both programs: on a thread that may block.
      Thread.detachNewThread { continuation.resume(returning: !ProxyProgramFile.isSame("/proc/\(pid)/exe", program)) }
    }
  }

  /// Starts another proxy beside the running one. Once it has said hello it is told as `replaced`; both accept on the same
  /// sockets until `retire`. Where it doesn't come up, nothing has changed.
  func replace() async throws(AgentError) {
    guard let before = current, before.hasGreeted, predecessor == nil, candidate == nil, !isStopping else {
      throw AgentError("no proxy can be replaced now")
    }
    let path = configuration.socketPath + ".next"
    defer { unlink(path) }
    let life = try await start(at: path)
    candidate = life
    defer { candidate = nil }
    follow(life)
    let hasGreeted = life.hasGreeted ? true : await withCheckedContinuation { life.greeting = $0 }
    // The next agent finds the new one from here on.
    guard hasGreeted, current === before, !isStopping, rename(path, configuration.socketPath) == 0 else {
      let reason = life.link.reason
      life.process?.kill()
      throw AgentError("the new proxy doesn't come up: \(reason.isEmpty ? "the one before has ended" : reason)")
    }
    predecessor = before
    current = life
    continuation.yield(.replaced(life.link))
  }

  /// The new proxy serves: the one before takes nothing new, and finishes what is open within the time.
  func retire() {
    guard let life = predecessor, !life.isRetired else { return }
    life.isRetired = true
    life.link.send(
      .with {
        $0.drain.seconds = configuration.drainSeconds
        $0.drain.successor = true
      })
    let process = life.process
    let seconds = Double(configuration.drainSeconds) + 2
    Task {
      try? await Task.sleep(for: .seconds(seconds))
      process?.kill()
    }
  }

  /// The new proxy is of no use: it goes, and the one before serves on.
  func abandon() {
    guard let predecessor, !predecessor.isRetired else { return }
    current?.process?.kill()
  }

  private static let maximumLeftovers = 2

  /// Proxies that an agent before has left draining end by themselves; one that doesn't, or that nobody told to, is ended.
  private func endLeftovers(but pid: Int32) {
    var left = ProxyProcess.all(in: configuration.cgroup, uid: configuration.uid).filter { $0.pid != pid }
    // More rollouts than that within the time: the oldest have had the most of it.
    left.sort { $0.startedAt > $1.startedAt }
    for process in left.dropFirst(Self.maximumLeftovers) { process.kill() }
    left = Array(left.prefix(Self.maximumLeftovers))
    guard !left.isEmpty else { return }
    let seconds = Double(configuration.drainSeconds) + 5
    Task {
      try? await Task.sleep(for: .seconds(seconds))
      for process in left { process.kill() }
    }
  }

  /// Ends the supervision and leaves the proxy running, for the agent after this one.
  func leave() {
    retire()
    isStopping = true
    predecessor?.link.close()
    current?.link.close()
  }

  /// Lets the proxy finish what is open, and ends it.
  func stop(drainSeconds: UInt32) async {
    isStopping = true
    predecessor?.process?.kill()
    if let process = current?.process, let link = current?.link {
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
