import Discovery
import DiscoveryAPI
import KubernetesAPI
import MeshModel
import Synchronization

/// The desired state, from a configuration folder or an API server, what is compiled of it, and the cache that serves it.
final class MeshState: Sendable {
  private enum Input: Sendable {
    case folder(ConfigFolder)
    case cluster(KubernetesObjects)

    var registry: ObjectRegistry {
      switch self {
      case .folder(let folder): folder.registry
      case .cluster(let objects): objects.registry
      }
    }
  }

  private let input: Mutex<Input>
  private let compiler: Mutex<MeshCompiler>
  private let cache: SnapshotCache

  /// - Parameter folder: nil: `take` is told what an API server has.
  init(folder: String?, config: MeshConfig, cache: SnapshotCache) {
    input = Mutex(folder.map { .folder(ConfigFolder(path: $0)) } ?? .cluster(KubernetesObjects(awaitsKept: true)))
    compiler = Mutex(MeshCompiler(config: config))
    self.cache = cache
  }

  /// What one look at the folder did, or one change of an API server's objects.
  struct Outcome: Sendable {
    var changedFiles: [String] = []
    /// Objects of the changed files.
    var accepted = 0
    /// Why objects of the changed files are refused.
    var refusals: [String] = []
    var folders: [String] = []
    /// The cache's generation after the change; nil if nothing of the mesh changed.
    var generation: UInt64?
    /// Resources that can't be distributed: they are left as they were.
    var undistributed: [String] = []
    /// Why the folder can't be read at all.
    var failure: String?
    /// Objects of an API server that are refused, of the changed ones.
    var refused: [(key: ObjectKey, reason: String)] = []
    /// Objects' statuses may be others now.
    var touchesStatus = false
  }

  /// Looks at the folder and distributes what changed.
  func look() -> Outcome {
    input.withLock { input in
      guard case .folder(var folder) = input else { return Outcome() }
      // Held once, so that the folder is changed in its place; so below.
      input = .cluster(KubernetesObjects())
      let look = folder.look()
      input = .folder(folder)
      var outcome = Outcome(changedFiles: look.changedFiles, folders: look.folders, failure: folder.failure)
      settle(look.changes, folder.registry, &outcome)
      return outcome
    }
  }

  /// Takes what an API server has told of a kind, and distributes what changed.
  func take(_ news: KubernetesSource.News, of kind: Kind) -> Outcome {
    input.withLock { input in
      guard case .cluster(var objects) = input else { return Outcome() }
      input = .cluster(KubernetesObjects())
      let (changes, touched) =
        switch news {
        case .part(let part): objects.take(part, of: kind)
        case .change(let change): objects.take(change, of: kind)
        }
      var outcome = Outcome(changedFiles: touched)
      settle(changes, objects.registry, &outcome)
      if kind.getsStatus { outcome.touchesStatus = true }
      outcome.refused = objects.refusals(touched)
      input = .cluster(objects)
      return outcome
    }
  }

  /// Takes the last good versions that are kept for every replica, by UID, and distributes what changed.
  func take(kept: [String: String]) -> Outcome {
    input.withLock { input in
      guard case .cluster(var objects) = input else { return Outcome() }
      input = .cluster(KubernetesObjects())
      let (changes, touched) = objects.take(kept: kept)
      var outcome = Outcome(changedFiles: touched)
      settle(changes, objects.registry, &outcome)
      outcome.touchesStatus = true
      outcome.refused = objects.refusals(touched)
      input = .cluster(objects)
      return outcome
    }
  }

  /// Last good versions that are to be kept for every replica, by UID; nil: a change is being made, which isn't waited for.
  var keeps: [String: String]? {
    input.withLockIfAvailable { if case .cluster(let objects) = $0 { objects.keeps } else { [:] } }
  }

  /// Whether every kind of object has been read once; not while a change is being made.
  var hasEveryKind: Bool {
    input.withLockIfAvailable { if case .cluster(let objects) = $0 { objects.hasEveryKind } else { true } } ?? false
  }

  /// Whether nobody reads or changes it at this moment.
  var isFree: Bool { input.withLockIfAvailable { _ in true } ?? false }

  /// Whether the whole state has been read once.
  var isComplete: Bool {
    input.withLock { if case .cluster(let objects) = $0 { objects.isComplete } else { true } }
  }

  private func settle(_ changes: [ObjectChange], _ registry: ObjectRegistry, _ outcome: inout Outcome) {
    for name in outcome.changedFiles {
      outcome.accepted += registry.statuses(of: name).count { $0.accepted }
      outcome.refusals += registry.refusals(of: name)
    }
    let (delta, meshedNodes, isTraffic) = compiler.withLock { compiler in
      let before = compiler.work
      let delta = compiler.apply(changes)
      let after = compiler.work
      return (delta, compiler.meshedNodes, before.routes != after.routes || before.policies != after.policies)
    }
    outcome.touchesStatus = isTraffic || delta.config != nil
    guard !delta.isEmpty else { return }
    let (upserts, undistributed) = delta.resources()
    outcome.undistributed = undistributed
    outcome.generation = cache.apply(upserts: upserts, removals: delta.removals, meshedNodes: meshedNodes)
  }

  func isScheduled(_ identity: SPIFFEID, node: String) -> Bool {
    compiler.withLock { $0.isScheduled(identity, node: node) }
  }

  /// Whether that pod is meshed and on that node.
  func isScheduled(workload id: String, node: String) -> Bool {
    compiler.withLock { $0.workloads[id].map { $0.isMeshed && $0.node == node } ?? false }
  }

  /// Where pods with a stub in tunnel mode are.
  var tunnelNamespaces: Set<String> { compiler.withLock { $0.tunnelNamespaces } }

  /// How a pod that asks for its own certificate fares in the mesh.
  func standing(namespace: String, pod: String, uid: String) -> TokenReviewAttestation.Standing {
    guard let workload = compiler.withLock({ $0.workloads["\(namespace)/\(pod)"] }),
      workload.podUID.isEmpty || workload.podUID == uid
    else { return .unknown }
    return workload.isMeshed && workload.mode == .stubTunnel ? .stub : .other
  }

  /// How objects fare, by themselves and with the objects that they refer to: every one, or in a large mesh those of which
  /// there is something to say. A report must not hold up a change.
  /// - Returns: also how many objects there are.
  func statuses() -> (listed: [ObjectStatus], total: Int) {
    input.withLock { input in
      let parents = compiler.withLock { $0.traffic.statuses }
      let listed = input.registry.statuses(listing: StatusReport.maximumAccepted, and: parents.keys)
      guard !parents.isEmpty else { return (listed, input.registry.count) }
      let judged = listed.map { status in
        guard status.accepted, let kind = Kind(rawValue: status.kind) else { return status }
        let key = ObjectKey(kind: kind, name: ObjectName(status.namespace, status.name))
        return parents[key].map { status.with(parents: $0) } ?? status
      }
      return (judged, input.registry.count)
    }
  }
}

extension MeshState {
  /// Every object of an API server that gets a status.
  var statusInputs: [StatusInput] {
    input.withLock { input in
      guard case .cluster(let objects) = input, objects.isComplete else { return [] }
      let parents = compiler.withLock { $0.traffic.statuses }
      return objects.statusInputs.map { input in
        var input = input
        input.parents = parents[input.key] ?? []
        return input
      }
    }
  }

  /// The same of one object as it is now.
  /// - Parameter subject: as just read.
  func statusInput(_ key: ObjectKey, _ subject: StatusSubject) -> StatusInput? {
    input.withLock { input in
      guard case .cluster(let objects) = input, let known = objects.subjects[key],
        known.generation == subject.generation
      else { return nil }
      var input = objects.input(key, subject)
      input.parents = compiler.withLock { $0.traffic.statuses[key] } ?? []
      return input
    }
  }

  /// All objects of an API server that are refused.
  var refused: [(key: ObjectKey, reason: String)] {
    input.withLock { if case .cluster(let objects) = $0 { objects.refused } else { [] } }
  }

  func hasNode(_ name: String) -> Bool { compiler.withLock { $0.hasNode(name) } }
}

extension MeshDelta {
  /// The new and changed resources, and why some can't be distributed.
  func resources() -> (upserts: [DiscoveryResource], undistributed: [String]) {
    var upserts: [DiscoveryResource] = []
    var undistributed: [String] = []
    func add(_ make: () throws(DiscoveryError) -> DiscoveryResource) {
      do {
        upserts.append(try make())
      } catch {
        undistributed.append(error.description)
      }
    }
    for (id, workload) in workloads {
      add { () throws(DiscoveryError) in
        try DiscoveryResource(
          typeURL: Weft_Mesh_V1_Workload.typeURL, name: id, message: Weft_Mesh_V1_Workload(workload),
          // Without an address it is nobody's peer yet: only its own node has to know that it comes.
          audience: workload.addresses.isEmpty
            ? .node(workload.node) : .meshedNodes(and: workload.node.isEmpty ? nil : workload.node))
      }
    }
    for (key, service) in services {
      add { () throws(DiscoveryError) in
        try DiscoveryResource(
          typeURL: Weft_Mesh_V1_Service.typeURL, name: key.description, message: Weft_Mesh_V1_Service(service),
          audience: .meshedNodes(and: nil))
      }
    }
    for (id, route) in routes {
      add { () throws(DiscoveryError) in
        try DiscoveryResource(
          typeURL: Weft_Mesh_V1_Route.typeURL, name: id, message: Weft_Mesh_V1_Route(route),
          audience: .meshedNodes(and: nil))
      }
    }
    for (id, policy) in policies {
      add { () throws(DiscoveryError) in
        try DiscoveryResource(
          typeURL: Weft_Mesh_V1_TrafficPolicy.typeURL, name: id, message: Weft_Mesh_V1_TrafficPolicy(policy),
          audience: .meshedNodes(and: nil))
      }
    }
    if let config {
      add { () throws(DiscoveryError) in
        try DiscoveryResource(
          typeURL: Weft_Mesh_V1_MeshConfig.typeURL, name: Weft_Mesh_V1_MeshConfig.resourceName,
          message: Weft_Mesh_V1_MeshConfig(config), audience: .everyNode)
      }
    }
    return (upserts, undistributed)
  }

  var removals: [ResourceKey] {
    removedWorkloads.map { ResourceKey(typeURL: Weft_Mesh_V1_Workload.typeURL, name: $0) }
      + removedServices.map { ResourceKey(typeURL: Weft_Mesh_V1_Service.typeURL, name: $0.description) }
      + removedRoutes.map { ResourceKey(typeURL: Weft_Mesh_V1_Route.typeURL, name: $0) }
      + removedPolicies.map { ResourceKey(typeURL: Weft_Mesh_V1_TrafficPolicy.typeURL, name: $0) }
  }
}
