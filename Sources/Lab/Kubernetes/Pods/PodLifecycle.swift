/// The life of one pod: which of its containers is to run, be asked, ended, or started again, and when it is over.
/// Pure: what happens comes in, with the time in milliseconds since 1970, and what is to be done comes out.
struct PodLifecycle: Sendable {
  struct Plan: Sendable {
    var name: String
    var probes: [ProbeKind: ProbeSpec]
    var hasPreStop: Bool
  }

  struct Ended: Sendable, Equatable {
    var code: Int32
    /// 0: none.
    var signal: Int32
    var started: Int64
    var finished: Int64
    var isKilled = false
    var id: String
    var message: String

    var isSuccess: Bool { code == 0 && signal == 0 }
    var reason: String { isSuccess ? "Completed" : "Error" }
  }

  enum ContainerState: Sendable, Equatable {
    case waiting(reason: String, message: String)
    case running(since: Int64)
    case ended(Ended)
  }

  struct Container: Sendable {
    let plan: Plan
    let isInit: Bool
    var state = ContainerState.waiting(reason: "PodInitializing", message: "")
    var last: Ended?
    var restarts = 0
    var id = ""
    /// Not started before.
    var due: Int64 = 0
    /// Of the next restart; 0: none was needed yet.
    var backoff: Int64 = 0
    var isStarting = false
    var probes: [ProbeKind: ProbeState] = [:]
    /// When SIGKILL follows; nil: it isn't being ended.
    var killAt: Int64?
    var isTerminated = false
    var isKilled = false

    var isRunning: Bool { if case .running = state { true } else { false } }
    var isStarted: Bool { isRunning && probes[.startup]?.isGood != false }
    var isReady: Bool {
      if isInit { if case .ended(let end) = state { return end.isSuccess } else { return false } }
      return isStarted && killAt == nil && probes[.readiness]?.isGood != false
    }
  }

  enum Event: Sendable {
    case sandboxMade
    case sandboxFailed(String)
    case sandboxRemoved
    case started(String, id: String)
    case notStarted(String, reason: String, message: String)
    case exited(String, id: String, code: Int32, signal: Int32, message: String)
    case probed(String, id: String, ProbeKind, isSuccess: Bool)
    case preStopped(String, id: String)
    /// - Parameter grace: milliseconds.
    case deleted(grace: Int64)
  }

  enum Action: Sendable, Equatable {
    case makeSandbox
    case start(String)
    case probe(String, ProbeKind)
    /// Run the hook, for so many milliseconds at most.
    case preStop(String, limit: Int64)
    case terminate(String)
    case kill(String)
    case removeSandbox
    /// Everything is over: the object may go.
    case removeObject
  }

  enum Sandbox: Sendable, Equatable {
    case none, making, made, removing, removed
    case failed(until: Int64, message: String)
  }

  static let shortestBackoff: Int64 = 10_000
  static let longestBackoff: Int64 = 300_000
  /// A container that ran so long begins its backoff anew.
  static let calm: Int64 = 600_000
  /// What couldn't be started (an image, a volume) is tried again after so long.
  static let retry: Int64 = 1_000
  /// SIGKILL follows SIGTERM at the earliest after so long, also where a pod has no grace left.
  static let leastGrace: Int64 = 0

  let restartPolicy: PodSpec.RestartPolicy
  let grace: Int64
  private(set) var containers: [Container]
  private(set) var sandbox = Sandbox.none
  private(set) var isDeleted = false
  private(set) var isGone = false
  private(set) var startTime: Int64
  private var deleteBy: Int64 = 0
  private var isOver = false

  init(
    initContainers: [Plan], containers: [Plan], restartPolicy: PodSpec.RestartPolicy, grace: Int64, now: Int64
  ) {
    self.restartPolicy = restartPolicy
    self.grace = grace
    self.containers =
      initContainers.map { Container(plan: $0, isInit: true) } + containers.map { Container(plan: $0, isInit: false) }
    startTime = now
    let reason = initContainers.isEmpty ? "ContainerCreating" : "PodInitializing"
    for index in self.containers.indices { self.containers[index].state = .waiting(reason: reason, message: "") }
  }

  var isInitialized: Bool { containers.allSatisfy { !$0.isInit || $0.isReady } }

  // MARK: What happens

  mutating func handle(_ event: Event, now: Int64) -> [Action] {
    switch event {
    case .sandboxMade: sandbox = .made
    case .sandboxFailed(let message): sandbox = .failed(until: now + Self.retry, message: message)
    case .sandboxRemoved: sandbox = .removed
    case .started(let name, let id): started(name, id, now)
    case .notStarted(let name, let reason, let message):
      change(name) {
        $0.isStarting = false
        $0.state = .waiting(reason: reason, message: message)
        $0.due = now + Self.retry
      }
    case .exited(let name, let id, let code, let signal, let message):
      exited(name, id, code: code, signal: signal, message: message, now)
    case .probed(let name, let id, let kind, let isSuccess):
      change(name) { if $0.id == id { $0.probes[kind]?.answered(isSuccess, now: now) } }
    case .preStopped(let name, let id):
      change(name) { if $0.id == id, $0.killAt != nil { $0.isTerminated = false } }
      guard let container = container(name), container.id == id, container.killAt != nil, container.isRunning else {
        break
      }
      change(name) { $0.isTerminated = true }
      return [.terminate(name)] + advance(now)
    case .deleted(let grace):
      let by = now + grace
      deleteBy = isDeleted ? min(deleteBy, by) : by
      isDeleted = true
      for index in containers.indices where containers[index].killAt != nil {
        containers[index].killAt = min(containers[index].killAt ?? by, deleteBy)
      }
    }
    return advance(now)
  }

  /// Time has passed.
  mutating func advance(_ now: Int64) -> [Action] {
    guard !isGone else { return [] }
    var actions = isDeleted || isOver ? windDown(now) : runUp(now)
    for index in containers.indices where containers[index].isRunning {
      if let killAt = containers[index].killAt, now >= killAt, !containers[index].isKilled {
        containers[index].isKilled = true
        actions.append(.kill(containers[index].plan.name))
      }
    }
    return actions
  }

  /// When `advance` is due at the latest; nil: only an event changes anything.
  var deadline: Int64? {
    guard !isGone else { return nil }
    var times: [Int64] = []
    if case .failed(let until, _) = sandbox { times.append(until) }
    for container in containers {
      if container.isRunning {
        if let killAt = container.killAt {
          if !container.isKilled { times.append(killAt) }
        } else if !isDeleted {
          times += container.probes.values.filter { container.isStarted || $0.kind == .startup }.compactMap(\.deadline)
        }
      } else if case .waiting = container.state, !container.isStarting, container.due > 0, !isDeleted {
        times.append(container.due)
      }
    }
    return times.min()
  }

  // MARK: Up

  private mutating func runUp(_ now: Int64) -> [Action] {
    switch sandbox {
    case .none: break
    case .failed(let until, _): guard now >= until else { return [] }
    case .made: return runContainers(now)
    case .making, .removing, .removed: return []
    }
    sandbox = .making
    return [.makeSandbox]
  }

  private mutating func runContainers(_ now: Int64) -> [Action] {
    var actions: [Action] = []
    for index in containers.indices where containers[index].isInit {
      if containers[index].isReady { continue }
      restart(index, now)
      if case .ended = containers[index].state {
        // It failed, and may not be started again.
        isOver = true
        return windDown(now)
      }
      return start(index, now) + probe(index, now)
    }
    for index in containers.indices where !containers[index].isInit {
      restart(index, now)
      actions += start(index, now) + probe(index, now)
    }
    if containers.allSatisfy({ if case .ended = $0.state { true } else { false } }) {
      isOver = true
      return actions + windDown(now)
    }
    return actions
  }

  private mutating func start(_ index: Int, _ now: Int64) -> [Action] {
    guard case .waiting = containers[index].state, !containers[index].isStarting, now >= containers[index].due else {
      return []
    }
    containers[index].isStarting = true
    return [.start(containers[index].plan.name)]
  }

  /// What has ended and is to run again waits for its backoff.
  private mutating func restart(_ index: Int, _ now: Int64) {
    guard case .ended(let end) = containers[index].state else { return }
    let isInit = containers[index].isInit
    switch restartPolicy {
    case .never: return
    case .onFailure where end.isSuccess: return
    case .always where isInit && end.isSuccess: return
    case .onFailure, .always: break
    }
    if end.finished - end.started >= Self.calm { containers[index].backoff = 0 }
    let backoff = containers[index].backoff
    containers[index].due = end.finished + backoff
    containers[index].backoff = min(max(backoff * 2, Self.shortestBackoff), Self.longestBackoff)
    containers[index].last = end
    containers[index].restarts += 1
    let message = "back-off \(backoff / 1000)s restarting failed container=\(containers[index].plan.name)"
    containers[index].state = .waiting(
      reason: backoff > 0 ? "CrashLoopBackOff" : "ContainerCreating", message: backoff > 0 ? message : "")
  }

  private mutating func probe(_ index: Int, _ now: Int64) -> [Action] {
    guard containers[index].isRunning, containers[index].killAt == nil else { return [] }
    var actions: [Action] = []
    for kind in ProbeKind.allCases where kind == .startup || containers[index].isStarted {
      if containers[index].probes[kind]?.hasFailed == true {
        return stop(index, by: now + grace, now)
      }
      if containers[index].probes[kind]?.isDue(now) == true {
        actions.append(.probe(containers[index].plan.name, kind))
      }
    }
    return actions
  }

  // MARK: Down

  private mutating func windDown(_ now: Int64) -> [Action] {
    var actions: [Action] = []
    var isRunning = false
    for index in containers.indices {
      if containers[index].isStarting { isRunning = true }
      guard containers[index].isRunning else { continue }
      isRunning = true
      if containers[index].killAt == nil { actions += stop(index, by: isDeleted ? deleteBy : now + grace, now) }
    }
    if isRunning { return actions }
    switch sandbox {
    case .made, .failed:
      sandbox = .removing
      actions.append(.removeSandbox)
    case .making, .removing: break
    case .none, .removed:
      if isDeleted {
        isGone = true
        actions.append(.removeObject)
      }
    }
    return actions
  }

  /// The hook, then SIGTERM; SIGKILL when `by` has come.
  private mutating func stop(_ index: Int, by: Int64, _ now: Int64) -> [Action] {
    containers[index].killAt = by
    let plan = containers[index].plan
    if plan.hasPreStop, by > now { return [.preStop(plan.name, limit: by - now)] }
    containers[index].isTerminated = true
    return [.terminate(plan.name)]
  }

  // MARK: Containers

  func container(_ name: String) -> Container? { containers.first { $0.plan.name == name } }

  private mutating func change(_ name: String, _ body: (inout Container) -> Void) {
    if let index = containers.firstIndex(where: { $0.plan.name == name }) { body(&containers[index]) }
  }

  private mutating func started(_ name: String, _ id: String, _ now: Int64) {
    change(name) { container in
      container.isStarting = false
      container.id = id
      container.state = .running(since: now)
      container.killAt = nil
      container.isTerminated = false
      container.isKilled = false
      container.probes = [:]
      for (kind, spec) in container.plan.probes {
        container.probes[kind] = ProbeState(spec, kind: kind, start: now)
      }
    }
  }

  private mutating func exited(
    _ name: String, _ id: String, code: Int32, signal: Int32, message: String, _ now: Int64
  ) {
    change(name) { container in
      guard container.id == id, case .running(let since) = container.state else { return }
      container.state = .ended(
        Ended(
          code: code, signal: signal, started: since, finished: now, isKilled: container.killAt != nil, id: id,
          message: message))
      container.killAt = nil
      container.probes = [:]
    }
  }
}
