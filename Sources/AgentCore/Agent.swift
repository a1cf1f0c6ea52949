import CLinux
import Capture
import Discovery
import DiscoveryAPI
import Foundation
import Identity
import Logging
import MeshModel

/// One node's agent: it joins what the control plane says, what pods are there, the kernel's capture and the proxy.
public actor Agent {
  /// A pod that the source has told.
  struct Pod {
    var sandbox: PodSandbox
    var lifecycle = PodLifecycle()
    var namespace: NetworkNamespace?
    /// Owned here, so that they outlive the proxy; in the order of `PodListener.allCases`.
    var listeners: [Int32] = []
    /// When it was found, and when its connections were captured first; monotonic nanoseconds, 0: not yet.
    var foundAt: UInt64 = 0
    var enrolledAt: UInt64 = 0
    /// As the kernel was told it.
    var captured: Captured?
    /// How many of its sockets the proxy was given ahead of need.
    var stock = Stock.first

    /// Whether it has addresses of the sockets' family; of IPv4 always.
    func has(_ kind: PodSocketKind) -> Bool {
      [.egressV4, .deliveryV4].contains(kind) || sandbox.addresses.contains { $0.family == .v6 }
    }

    enum Stock {
      case first, usual, full
    }

    struct Captured: Equatable {
      let failMode: FailMode
      let probePorts: [UInt16]
    }
  }

  let configuration: AgentConfiguration
  let logger: Logger
  let started = Date()
  let engine: CaptureEngine
  let namespaces: NamespaceThread
  let supervisor: ProxySupervisor
  let identityStore: IdentityStore
  let snapshotStore: SnapshotStore
  private let source: any PodSource

  var mesh: MeshState
  var pods: [String: Pod] = [:]
  /// Of pods in handoff mode: their stubs, the sockets that these have opened ahead of need, and the pods that only their
  /// stubs have shown, with their UIDs in the cgroup tree (empty: in none).
  var stubs: [String: StubLink] = [:]
  var reserves: [String: SocketReserve] = [:]
  var stubMade: [String: String] = [:]
  /// Pods of the cgroup tree, where the source finds them there.
  var cgroupPods: CgroupPods
  var podsFolderPaths: [UInt64: String] = [:]
  var heldInbound: Set<UInt64> = []
  /// The node's own network namespace.
  let home: NetworkNamespace
  /// Monotonic nanoseconds.
  var unseenHeldAt: UInt64 = 0
  var identities = Identities()
  var trustBundle: TrustBundle
  var client: DiscoveryClient?
  var nodeSchedule = RotationSchedule(now: Date(), retries: 1...10)
  var nodeIdentity: HeldIdentity?
  var link: ProxyLink?
  /// Listeners that a proxy before this agent holds, until their pods are known.
  var adopted: [String: [Int32]] = [:]
  var meshVersion: UInt64 = 0
  var rejected: [RejectedResource] = []
  var isRestored = false
  /// Whether the mesh is known in full, from disk or by `settle`.
  var meshIsSettled = false
  /// What was restored is older than what the agent before knew: the control plane has to tell all types first.
  var isRestoredStale = false
  /// The types that the control plane has told something of.
  var heardTypes: Set<String> = []
  /// Monotonic nanoseconds.
  var meshChangedAt: UInt64 = 0
  var snapshot = SnapshotSaving()
  /// Who waits for the proxy's word on an update: its error, empty where it was taken, nil where no word comes.
  var acknowledgements: [UInt64: CheckedContinuation<String?, Never>] = [:]
  /// When the proxy last answered with all its workers; monotonic nanoseconds.
  var proxyAnswered: UInt64 = 0
  var isEnding = false
  var problems: [String: String] = [:]
  /// What can't be used of what the source of pods has.
  var podProblems: [String: String] = [:]
  var queries: [UInt64: CheckedContinuation<Data?, Never>] = [:]
  var nextQuery: UInt64 = 0
  private(set) var podsAreKnown = false
  var rollout = Rollout.undecided
  var troubles = PodTroubles()
  var isReporting = false
  var isJoiningAnew = false
  /// Of the roots' file, when it was looked at.
  var trustFileModified: Date?
  private var leftoversAreGone = false
  private var proxyWaiters: [CheckedContinuation<Void, Never>] = []
  private var proxyHasAnswered = false
  private let lock: RunLock
  private let loaded: IdentityStore.Loaded

  /// Loads the capture programs, and what an agent before this one left on disk.
  public init(_ configuration: AgentConfiguration, source: any PodSource, logger: Logger) throws {
    self.configuration = configuration
    self.logger = logger
    self.source = source
    mesh = MeshState(node: configuration.node)
    home = try NetworkNamespace(path: "/proc/self/ns/net")
    lock = try RunLock(directory: configuration.runDirectory)
    identityStore = try IdentityStore(directory: configuration.stateDirectory + "/identities")
    var loaded = identityStore.load()
    trustFileModified = Self.modified(configuration.trustFile)
    trustBundle = try loaded.chooseTrust(file: configuration.trustFile, logger)
    self.loaded = loaded
    snapshotStore = try SnapshotStore(path: configuration.stateDirectory + "/snapshot/mesh.bin")
    namespaces = try NamespaceThread()
    engine = try CaptureEngine(
      CaptureConfiguration(
        objectPath: configuration.bpfObject, bpffsDirectory: configuration.bpffsDirectory,
        cgroupRoot: configuration.cgroupRoot, agentCgroup: configuration.cgroup,
        bypassCgroups: [configuration.cgroup, configuration.proxyCgroup]
          + [configuration.formerProxyCgroup].compactMap(\.self).filter { access($0, F_OK) == 0 },
        nodeAddresses: configuration.nodeAddresses))
    cgroupPods = CgroupPods(policy: configuration.hold, records: try engine.verdicts())
    supervisor = ProxySupervisor(
      ProxySupervisor.Configuration(
        program: configuration.proxyProgram, socketPath: configuration.runDirectory + "/proxy.sock",
        cgroup: configuration.proxyCgroup, uid: configuration.proxyUID, workers: configuration.proxyWorkers,
        logLevel: configuration.logLevel, drainSeconds: configuration.drainSeconds),
      logger: logger)
  }

  /// Serves until the task is cancelled; then ends as configured.
  public func run() async throws {
    let server = try await AdminServer.start(path: configuration.runDirectory + "/agent.sock") { [weak self] in
      await self?.answer($0) ?? .failure(503, "the agent is ending")
    }
    let stubListener = try StubListener.start(path: configuration.runDirectory + "/stub/stub.sock") {
      [weak self] link in
      await self?.appeared(link)
    } gone: { [weak self] link, reason in
      await self?.gone(link, reason)
    }
    restore()
    // Not children of this task: they go on until what they keep has ended in its order.
    let loops = Task {
      await withDiscardingTaskGroup { group in
        group.addTask { await self.supervisor.run() }
        group.addTask { await self.followProxy() }
        group.addTask { await self.followPods() }
        group.addTask { await self.followControl() }
        group.addTask { await self.tickUntilCancelled() }
      }
    }
    while !Task.isCancelled { try? await Task.sleep(for: .seconds(3600)) }
    await Task { await self.end() }.value
    loops.cancel()
    await loops.value
    await server.stop()
    stubListener.stop()
    lock.release()
  }

  private func restore() {
    for problem in loaded.problems {
      logger.warning("an identity on disk is ignored", metadata: ["error": "\(problem)"])
    }
    identities.restore(loaded.identities)
    if let own = loaded.identities.first(where: { $0.subject == .node(nodeID) }) { use(node: own) }
    do {
      guard let state = try snapshotStore.load() else { return }
      for typeURL in MeshState.typeURLs {
        let update = state.asUpdate(typeURL)
        let (_, refused) = mesh.apply(update)
        // What isn't understood any more isn't resumed from: it's sent again.
        restoredState.apply(update, rejected: Set(refused.map(\.name)))
      }
      isRestored = true
      isRestoredStale = snapshotStore.isStale
      meshIsSettled = !isRestoredStale
      logger.info(
        "serving from the saved snapshot until the control plane answers",
        metadata: [
          "workloads": "\(mesh.workloads.count)", "services": "\(mesh.services.count)",
          "lacks the last changes": "\(isRestoredStale)",
        ])
    } catch {
      problems["saved snapshot"] = "\(error)"
      logger.error("the saved snapshot can't be used", metadata: ["error": "\(error)"])
    }
  }

  var restoredState = DiscoveryState()

  var nodeID: NodeID {
    // The name was checked when the arguments were read.
    NodeID(trustDomain: trustBundle.trustDomain, node: configuration.node)!
  }

  // MARK: Loops

  private func followPods() async {
    for await event in source.events() {
      guard !isEnding else { break }
      switch event {
      case .appeared(let sandbox):
        await waitForProxy()
        appeared(sandbox)
      case .vanished(let uid): vanished(uid)
      case .podsFolders(let cgroups): found(podsFolders: cgroups)
      case .folderAppeared(let folder): appeared(folder)
      case .folderVanished(let cgroup): perform(cgroupPods.vanished(cgroup: cgroup))
      case .sandboxAppeared(let cgroup, let namespace, let addresses):
        await waitForProxy()
        appeared(.init(namespace: namespace, addresses: addresses), cgroup: cgroup)
      case .sandboxVanished(let cgroup): perform(cgroupPods.sandboxVanished(cgroup: cgroup))
      case .synchronized:
        podsAreKnown = true
        cgroupsAreKnown()
        removeLeftovers()
      case .problem(let subject, let text):
        podProblems[subject] = text
        logger.error("a pod can't be taken", metadata: ["error": "\(text)"])
      case .repaired(let subject): podProblems[subject] = nil
      }
    }
  }

  /// A living proxy's listeners have to be known before new ones are opened.
  func waitForProxy() async {
    guard !proxyHasAnswered else { return }
    await withCheckedContinuation { proxyWaiters.append($0) }
  }

  private func followProxy() async {
    for await event in supervisor.events {
      switch event {
      case .connected(let link, let inventory): connected(link, inventory)
      case .replaced(let link): replaced(by: link)
      case .message(let message): received(message)
      case .predecessor(let message, let link): received(message, predecessor: link)
      case .lost:
        link = nil
        for (_, query) in queries { query.resume(returning: nil) }
        queries = [:]
        for (_, waiter) in acknowledgements { waiter.resume(returning: nil) }
        acknowledgements = [:]
      }
      // Also a proxy that can't be started must not keep the pods from being seen.
      proxyHasAnswered = true
      for waiter in proxyWaiters { waiter.resume() }
      proxyWaiters = []
    }
  }

  private func tickUntilCancelled() async {
    var count = 0
    while !Task.isCancelled {
      let now = DispatchTime.now().uptimeNanoseconds
      for uid in Array(pods.keys) {
        if let actions = pods[uid]?.lifecycle.tick(now: now) { perform(actions, uid) }
      }
      settle(now: now)
      renew()
      tickCgroups(now: now)
      if count % 10 == 0 {
        removeStubMade()
        reportTroubles(now: now)
      }
      stockSockets(now: now)
      tickRollout(now: now)
      if count % 10 == 0, isProxyHealthy(now) { attempt("heartbeat") { try engine.heartbeat() } }
      if count % 20 == 0 { Task { await askForHealth() } }
      if count % 50 == 0 { followCutOver() }
      // A part of the mesh would be taken for the whole of it by the next agent.
      if meshIsSettled, snapshot.isDue(now) { await saveSnapshot() }
      count += 1
      try? await Task.sleep(for: .milliseconds(100))
    }
  }

  /// Notes a failure for `weft check`, and its end.
  func attempt(_ what: String, _ body: () throws -> Void) {
    do {
      try body()
      problems[what] = nil
    } catch {
      if problems[what] != "\(error)" { logger.error("\(what) failed", metadata: ["error": "\(error)"]) }
      problems[what] = "\(error)"
    }
  }

  /// On a thread that may block; a failure is told, and tried again.
  private func saveSnapshot() async {
    guard let state = client?.state else { return }
    snapshot.began(now: DispatchTime.now().uptimeNanoseconds)
    let result = await snapshotStore.saveOffPool(state)
    attempt("saved snapshot") { try result.get() }
    snapshot.ended((try? result.get()) != nil, now: DispatchTime.now().uptimeNanoseconds)
    if !snapshot.isDirty { snapshotStore.clearStale() }
  }

  /// What an agent before this one enrolled and nobody wants any more: once, when pods and mesh are known.
  func removeLeftovers() {
    guard podsAreKnown, meshIsSettled, !leftoversAreGone else { return }
    leftoversAreGone = true
    let heldNetworks = Set(cgroupPods.pods.values.filter(\.holdsNetwork).map(\.folder.uid))
    func isUnwanted(_ uid: String) -> Bool {
      // Its stub shows it again when it has found this agent.
      if let workload = mesh.workloads[uid], workload.mode == .stubHandoff, workload.isCarried(on: configuration.node) {
        return false
      }
      return pods[uid]?.lifecycle.phase ?? .outside == .outside && !heldNetworks.contains(uid)
    }
    attempt("leftovers") {
      for known in try engine.knownPods() where isUnwanted(known.uid) { try engine.release(uid: known.uid) }
    }
    for uid in Array(adopted.keys) where isUnwanted(uid) { dropAdopted(uid) }
    // With that the start is over.
    weft_release_startup_code()
  }

  private func end() async {
    isEnding = true
    if meshIsSettled, snapshot.isDirty { await saveSnapshot() }
    if configuration.keepsOnExit {
      holdUnseen()
      await supervisor.leave()
      return
    }
    logger.info("ending: pods are released, the proxy finishes what is open")
    for uid in Array(pods.keys) { release(uid) }
    await supervisor.stop(drainSeconds: 5)
    engine.detach()
  }
}
