import Foundation
import KubernetesAPI
import Logging

/// Carries out what the life of one pod asks for.
actor PodWorker {
  private let context: KubeletContext
  private var spec: PodSpec
  private let node: LabState.Node
  private let statuses: StatusWriter
  private var lifecycle: PodLifecycle
  private var volumes: PodVolumes
  private var sandbox: Sandbox?
  private var transitions: [String: (status: Bool, since: Int64)] = [:]
  private var processes: [String: ProcessRecord] = [:]
  private var launches: [String: ContainerLaunch] = [:]
  private var timer: Task<Void, Never>?
  private var queue: [PodLifecycle.Action] = []
  private var isActing = false
  private var volumeRetryAt: Int64?
  /// Its object is gone already, or not its own to remove.
  private var isObjectGone = false
  private let onEnd: @Sendable () async -> Void

  init(_ spec: PodSpec, node: LabState.Node, context: KubeletContext, onEnd: @escaping @Sendable () async -> Void) {
    self.context = context
    self.spec = spec
    self.node = node
    self.onEnd = onEnd
    statuses = StatusWriter(client: context.client, pod: spec.id, uid: spec.uid, logger: context.logger)
    func plan(_ container: ContainerSpec) -> PodLifecycle.Plan {
      PodLifecycle.Plan(name: container.name, probes: container.probes, hasPreStop: !container.preStop.isEmpty)
    }
    lifecycle = PodLifecycle(
      initContainers: spec.initContainers.map(plan), containers: spec.containers.map(plan),
      restartPolicy: spec.restartPolicy, grace: Int64(spec.grace) * 1000, now: KubeletContext.now)
    volumes = PodVolumes(context: context, spec: spec, addresses: [], node: node)
  }

  // MARK: What comes in

  func begin() async {
    if spec.isDeleted {
      await tell(.deleted(grace: Int64(spec.deletionGrace) * 1000))
    } else {
      await step(lifecycle.advance(KubeletContext.now))
    }
  }

  func update(_ new: PodSpec) async {
    // Told by tasks of their own, updates may overtake one another.
    guard new != spec, new.version > spec.version else { return }
    let wasDeleted = spec.isDeleted
    let graceChanged = spec.deletionGrace != new.deletionGrace
    spec = new
    if new.isDeleted, !wasDeleted || graceChanged {
      await tell(.deleted(grace: Int64(new.deletionGrace) * 1000))
    } else {
      await refreshVolumes()
      await step([])
    }
  }

  /// The object is gone: by force, or with its namespace.
  func objectGone() async {
    isObjectGone = true
    await tell(.deleted(grace: 0))
  }

  func objectChanged(_ resource: KubernetesResource, _ name: PodName) async {
    guard name.namespace == spec.id.namespace, sandbox != nil, !lifecycle.isGone else { return }
    await refreshVolumes()
    await step([])
  }

  private func tell(_ event: PodLifecycle.Event) async {
    await step(lifecycle.handle(event, now: KubeletContext.now))
  }

  // MARK: Steps

  /// Actions are carried out one after another, in their order; what they tell adds more.
  private func step(_ actions: [PodLifecycle.Action]) async {
    queue += actions
    guard !isActing else { return }
    isActing = true
    while !queue.isEmpty { await act(queue.removeFirst()) }
    isActing = false
    await report()
    schedule()
  }

  private func schedule() {
    timer?.cancel()
    guard !lifecycle.isGone else { return }
    let times = [lifecycle.deadline, sandbox == nil ? nil : volumes.renewAt, volumeRetryAt].compactMap { $0 }
    guard let next = times.min() else { return }
    let pause = max(next - KubeletContext.now, 1)
    timer = Task { [weak self] in
      try? await Task.sleep(for: .milliseconds(pause))
      if !Task.isCancelled { await self?.tick() }
    }
  }

  private func tick() async {
    let now = KubeletContext.now
    if sandbox != nil, !lifecycle.isDeleted {
      if volumes.renewAt.map({ now >= $0 }) == true || volumeRetryAt.map({ now >= $0 }) == true {
        await refreshVolumes()
      }
    }
    await step(lifecycle.advance(now))
  }

  private func report() async {
    guard !isObjectGone else { return }
    let status = PodStatus(
      lifecycle: lifecycle, pod: spec, addresses: sandbox?.addresses ?? [], hostAddress: node.addresses[0])
    let now = KubeletContext.now
    await statuses.send(status.node(&transitions, now: now))
  }

  private func act(_ action: PodLifecycle.Action) async {
    switch action {
    case .makeSandbox: await makeSandbox()
    case .start(let name): await start(name)
    case .probe(let name, let kind): probe(name, kind)
    case .preStop(let name, let limit): preStop(name, limit)
    case .terminate(let name): processes[name]?.signal(SIGTERM)
    case .kill(let name): kill(name)
    case .removeSandbox: await removeSandbox()
    case .removeObject: await removeObject()
    }
  }

  // MARK: Sandbox

  private func makeSandbox() async {
    let spec = spec
    let node = node
    let context = context
    do {
      let made = try await Blocking.run { try Sandbox.make(spec, node: node, context) }
      sandbox = made
      volumes = PodVolumes(context: context, spec: spec, addresses: made.addresses, node: node)
      await tell(.sandboxMade)
    } catch {
      context.logger.error("pod \(spec.id): \(error)")
      await tell(.sandboxFailed("\(error)"))
    }
  }

  private func removeSandbox() async {
    let context = context
    if let sandbox {
      do {
        try await Blocking.run { try sandbox.remove(context) }
      } catch {
        context.logger.error("pod \(spec.id): \(error)")
      }
      self.sandbox = nil
    }
    await tell(.sandboxRemoved)
  }

  private func removeObject() async {
    await report()
    let folder = context.layout.podFolder(uid: spec.uid)
    try? await Blocking.run { try Files.removeTree(folder) }
    context.containers.remove(uid: spec.uid)
    if !isObjectGone { await statuses.removeObject() }
    timer?.cancel()
    await onEnd()
  }

  // MARK: Volumes

  private func refreshVolumes() async {
    var volumes = volumes
    do {
      try await volumes.write(spec, now: KubeletContext.now)
      volumeRetryAt = nil
    } catch {
      context.logger.warning("pod \(spec.id): \(error)")
      volumeRetryAt = KubeletContext.now + PodLifecycle.retry
    }
    self.volumes = volumes
  }

  // MARK: Containers

  private func start(_ name: String) async {
    guard let sandbox, let container = spec.allContainers.first(where: { $0.name == name }) else { return }
    var volumes = volumes
    do {
      try await volumes.write(spec, now: KubeletContext.now)
    } catch {
      await tell(.notStarted(name, reason: "ContainerCreating", message: "\(error)"))
      return
    }
    self.volumes = volumes
    let id = CgroupNames.newID()
    let maker = ContainerMaker(context: context, spec: spec, sandbox: sandbox, volumes: volumes)
    let context = context
    let restarts = lifecycle.container(name)?.restarts ?? 0
    let folder = "\(context.layout.podLogs(spec.id, uid: spec.uid))/\(name)"
    let log = "\(folder)/\(restarts).log"
    do {
      let services = ServiceView.views(services: context.cache.all(.services), slices: [])
      let (launch, pid) = try await Blocking.run {
        let launch = try maker.make(container, id: id, services: services)
        try Files.makeFolder(folder)
        let file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw LabError("\(log): can't be written: \(Errno.text(errno))") }
        defer { close(file) }
        return (launch, try launch.start(ContainerLaunch.Streams(output: file, error: file)))
      }
      processes[name] = ProcessRecord(pid: pid)
      launches[name] = launch
      context.containers.set(
        ContainerTable.Entry(
          node: node.name, pod: spec.id, uid: spec.uid, container: name, id: id, process: processes[name],
          launch: launch, log: log, previousLog: restarts > 0 ? "\(folder)/\(restarts - 1).log" : nil))
      let events = lifecycle.handle(.started(name, id: id), now: KubeletContext.now)
      ChildExit.watch(pid) { [weak self] end in
        Task { await self?.exited(name, id: id, end, message: maker.terminationMessage(id: id)) }
      }
      if !container.postStart.isEmpty {
        _ = await execute(container.postStart, in: name, limit: Int64(spec.grace) * 1000)
      }
      await step(events)
    } catch let problem as ContainerMaker.Problem {
      await tell(.notStarted(name, reason: problem.reason, message: problem.message))
    } catch {
      await tell(.notStarted(name, reason: "RunContainerError", message: "\(error)"))
    }
  }

  private func exited(_ name: String, id: String, _ end: ProcessEnd, message: String) async {
    if let launch = launches[name], lifecycle.container(name)?.id == id {
      // What it left running ends with it, as in a PID namespace.
      let cgroup = launch.cgroup
      let folder = String(launch.upper.dropLast("/upper".count))
      try? await Blocking.run {
        try Cgroup.killAll(cgroup)
        try Cgroup.remove(cgroup)
        try Files.removeTree(folder)
      }
      context.containers.ended(uid: spec.uid, container: name)
      processes[name] = nil
    }
    var code: Int32 = 0
    var signal: Int32 = 0
    switch end {
    case .code(let value): code = value
    case .signal(let value): signal = value
    }
    await tell(.exited(name, id: id, code: code, signal: signal, message: message))
  }

  private func kill(_ name: String) {
    processes[name]?.signal(SIGKILL)
  }

  private func probe(_ name: String, _ kind: ProbeKind) {
    guard let container = lifecycle.container(name), let state = container.probes[kind], let sandbox else { return }
    let id = container.id
    let node = node
    let layout = context.layout
    let address = sandbox.addresses[0]
    // A worker lives until its pod is over: there is no cycle to break.
    Task {
      let isSuccess = await Prober.ask(state.spec, address: address, node: node, layout: layout) { command, limit in
        await self.execute(command, in: name, limit: limit)
      }
      await self.tell(.probed(name, id: id, kind, isSuccess: isSuccess))
    }
  }

  private func preStop(_ name: String, _ limit: Int64) {
    guard let id = lifecycle.container(name)?.id,
      let command = spec.allContainers.first(where: { $0.name == name })?.preStop
    else { return }
    Task {
      _ = await self.execute(command, in: name, limit: limit)
      await self.tell(.preStopped(name, id: id))
    }
  }

  /// Runs a command in a container; nil where it took longer than `limit` milliseconds, or can't be run.
  private func execute(_ command: [String], in name: String, limit: Int64) async -> ProcessEnd? {
    guard let launch = launches[name], let process = processes[name] else { return nil }
    do {
      let pid = try await Blocking.run { try launch.execute(command, in: process, ContainerLaunch.Streams()) }
      let record = ProcessRecord(pid: pid)
      let limiter = Task {
        try? await Task.sleep(for: .milliseconds(limit))
        if !Task.isCancelled { record?.signal(SIGKILL) }
      }
      let end = await ChildExit.end(of: pid)
      limiter.cancel()
      return end
    } catch {
      context.logger.debug("pod \(spec.id), container \(name): \(error)")
      return nil
    }
  }
}
