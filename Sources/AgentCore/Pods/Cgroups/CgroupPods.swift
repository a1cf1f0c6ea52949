import Capture
import MeshModel

/// The pods of the cgroup tree, joined with the workloads that discovery tells: who is which, and who is held. A pure state
/// machine: what it is told in, actions out. Times are monotonic nanoseconds.
struct CgroupPods: Sendable {
  struct Pod: Sendable {
    let folder: PodFolder
    let seenAt: UInt64
    /// See `HoldPolicy.Facts`.
    let wasThere: Bool
    var wasMeshed = false
    var namespace: String?
    var sandbox: Sandbox?
    /// The workload's id under which the agent has it.
    var shown: String?
    var verdict: CgroupVerdict?
    var reason = ""
    /// Its network is held under its UID, since nobody knows its name.
    var holdsNetwork = false
  }

  struct Sandbox: Hashable, Sendable {
    let namespace: OpenNamespace
    let addresses: [IPAddress]
  }

  enum Action: Hashable, Sendable {
    case judge(cgroup: UInt64, CgroupVerdict?)
    case appeared(PodSandbox)
    case vanished(uid: String)
    case holdNetwork(podUID: String, Sandbox)
    case releaseNetwork(podUID: String)
  }

  /// What others know, at one moment.
  struct Surroundings {
    var mesh: MeshState
    var isConnected: Bool
    var isEnrolled: (String) -> Bool
    /// Whether that workload, which only its stub has shown, is the pod of this folder and enrolled.
    var isEnrolledByStub: (String, PodFolder) -> Bool
  }

  let policy: HoldPolicy
  /// Of an agent before this one.
  private let records: [UInt64: CgroupVerdict]
  private let hadAgent: Bool
  private(set) var pods: [UInt64: Pod] = [:]
  private(set) var podsFolders: Set<UInt64> = []
  private var isSynchronized = false

  init(policy: HoldPolicy, records: [UInt64: CgroupVerdict]) {
    self.policy = policy
    self.records = records
    hadAgent = records.values.contains(.podsFolder)
  }

  var isEmpty: Bool { pods.isEmpty && podsFolders.isEmpty }

  /// Pods whose namespace could decide, and isn't known.
  func nameless(_ mesh: MeshState) -> Set<String> {
    Set(pods.values.filter { $0.namespace == nil && mesh.workload(podUID: $0.folder.uid) == nil }.map(\.folder.uid))
  }

  func pod(shownAs id: String) -> Pod? { pods.values.first { $0.shown == id } }
  func cgroup(shownAs id: String) -> UInt64? { pods.first { $0.value.shown == id }?.key }
  func cgroup(uid: String) -> UInt64? { pods.first { $0.value.folder.uid == uid }?.key }

  // MARK: What the source tells

  mutating func appeared(_ folder: PodFolder, now: UInt64) {
    let wasThere =
      records[folder.cgroup] == .passes || (!isSynchronized && !hadAgent && folder.isRunning)
    pods[folder.cgroup] = Pod(folder: folder, seenAt: now, wasThere: wasThere)
  }

  mutating func vanished(cgroup: UInt64) -> [Action] {
    sandboxVanished(cgroup: cgroup) + (pods.removeValue(forKey: cgroup) == nil ? [] : [.judge(cgroup: cgroup, nil)])
  }

  mutating func appeared(_ sandbox: Sandbox, cgroup: UInt64) { pods[cgroup]?.sandbox = sandbox }

  /// Held before anything is let go: the next sandbox begins as every one does.
  mutating func sandboxVanished(cgroup: UInt64) -> [Action] {
    guard let pod = pods[cgroup] else { return [] }
    var actions: [Action] = []
    if pod.shown != nil, pod.wasMeshed, pod.verdict != .held {
      pods[cgroup]?.verdict = .held
      actions.append(.judge(cgroup: cgroup, .held))
    }
    if let shown = pod.shown { actions.append(.vanished(uid: shown)) }
    if pod.holdsNetwork { actions.append(.releaseNetwork(podUID: pod.folder.uid)) }
    pods[cgroup]?.shown = nil
    pods[cgroup]?.sandbox = nil
    pods[cgroup]?.holdsNetwork = false
    return actions
  }

  /// - Returns: the folders' verdicts, once what is in them has its own.
  mutating func found(podsFolders: Set<UInt64>) -> [Action] {
    let gone = self.podsFolders.subtracting(podsFolders)
    let new = podsFolders.subtracting(self.podsFolders)
    self.podsFolders = podsFolders
    guard isSynchronized else { return [] }
    return gone.map { .judge(cgroup: $0, nil) } + new.map { .judge(cgroup: $0, .podsFolder) }
  }

  /// Every pod that was there at the start has been told, and judged.
  mutating func synchronized() -> [Action] {
    guard !isSynchronized else { return [] }
    isSynchronized = true
    let stale = records.keys.filter { pods[$0] == nil && !podsFolders.contains($0) }
    return stale.sorted().map { .judge(cgroup: $0, nil) } + podsFolders.sorted().map { .judge(cgroup: $0, .podsFolder) }
  }

  mutating func named(_ namespaces: [String: String]) {
    for (cgroup, pod) in pods { if let name = namespaces[pod.folder.uid] { pods[cgroup]?.namespace = name } }
  }

  // MARK: What follows

  /// Brings names and verdicts up to date.
  /// - Parameter only: of this pod; nil: of all.
  mutating func settle(_ around: Surroundings, now: UInt64, only: UInt64? = nil) -> [Action] {
    var actions: [Action] = []
    let cgroups = only.map { [$0] } ?? pods.keys.sorted()
    for cgroup in cgroups {
      guard var pod = pods[cgroup] else { continue }
      let workload = around.mesh.workload(podUID: pod.folder.uid)
      if let workload { pod.wasMeshed = workload.isMeshed && workload.mode != .stubTunnel }
      if let workload, let sandbox = pod.sandbox, pod.shown != workload.id {
        if let shown = pod.shown { actions.append(.vanished(uid: shown)) }
        // Another pod had the name before, and its cgroup lingers.
        if let before = pods.first(where: { $0.value.shown == workload.id })?.key {
          actions.append(.vanished(uid: workload.id))
          pods[before]?.shown = nil
        }
        pod.shown = workload.id
        actions.append(.appeared(PodSandbox(workload, sandbox, pod.folder)))
      }
      pods[cgroup] = pod
    }
    for cgroup in cgroups { judge(cgroup, around, now: now, &actions) }
    return actions
  }

  private mutating func judge(_ cgroup: UInt64, _ around: Surroundings, now: UInt64, _ actions: inout [Action]) {
    guard let pod = pods[cgroup] else { return }
    var facts = HoldPolicy.Facts()
    facts.workload = around.mesh.workload(podUID: pod.folder.uid)
    // Under this very sandbox: a name that another pod has taken over says nothing of this one.
    facts.isEnrolled =
      pod.shown.map { around.isEnrolled($0) }
      ?? facts.workload.map { around.isEnrolledByStub($0.id, pod.folder) } ?? false
    facts.wasMeshed = pod.wasMeshed
    facts.wasThere = pod.wasThere
    facts.wasEnrolled = records[cgroup] == .enrolled && (pod.verdict ?? .enrolled) == .enrolled
    facts.namespace = pod.namespace
    facts.namespaceIsMeshed = pod.namespace.map { around.mesh.isMeshed(namespace: $0) } ?? false
    facts.isConnected = around.isConnected
    facts.seenAt = pod.seenAt
    let (verdict, reason) = policy.verdict(facts, now: now)
    if pod.verdict != verdict { actions.append(.judge(cgroup: cgroup, verdict)) }
    pods[cgroup]?.verdict = verdict
    pods[cgroup]?.reason = reason
    // The kernel drops what asks it for a connection; once its network is seen, that is refused.
    let holdsNetwork = verdict == .held && facts.workload == nil && pod.sandbox != nil
    guard holdsNetwork != pod.holdsNetwork else { return }
    pods[cgroup]?.holdsNetwork = holdsNetwork
    if holdsNetwork, let sandbox = pod.sandbox {
      actions.append(.holdNetwork(podUID: pod.folder.uid, sandbox))
    } else {
      actions.append(.releaseNetwork(podUID: pod.folder.uid))
    }
  }
}

extension PodSandbox {
  init(_ workload: Workload, _ sandbox: CgroupPods.Sandbox, _ folder: PodFolder) {
    self.init(
      uid: workload.id, namespace: workload.namespace, name: workload.name, networkNamespace: "", cgroup: folder.path,
      addresses: sandbox.addresses)
    open = sandbox.namespace
  }
}
