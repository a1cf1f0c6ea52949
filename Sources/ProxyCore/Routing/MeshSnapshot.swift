import HashTreeCollections
import MeshModel

/// All that the data path knows of the mesh, as one immutable value. A new snapshot shares what didn't
/// change with the one before it (persistent hash trees), so a change costs what it touches.
public struct MeshSnapshot: Sendable {
  public private(set) var config = MeshConfig()
  /// The node that this proxy serves.
  public private(set) var node = ""
  private var workloads: TreeDictionary<String, Workload> = [:]
  private var workloadIDs: TreeDictionary<IPAddress, String> = [:]
  private var services: TreeDictionary<ServiceKey, ServiceEntry> = [:]
  private var serviceKeys: TreeDictionary<IPAddress, ServiceKey> = [:]
  /// How many workloads carry each identity: what a client may call itself.
  private var identities: TreeDictionary<SPIFFEID, Int> = [:]

  public init() {}

  public var workloadCount: Int { workloads.count }
  public var serviceCount: Int { services.lazy.count { $0.value.service != nil } }

  public func workload(id: String) -> Workload? { workloads[id] }

  public func workload(at address: IPAddress) -> Workload? {
    workloadIDs[address].flatMap { workloads[$0] }
  }

  public func service(_ key: ServiceKey) -> Service? { services[key]?.service }

  public func service(at address: IPAddress) -> Service? {
    serviceKeys[address].flatMap { services[$0]?.service }
  }

  /// The workloads that the Service selects, ready or not, in the order of their ids.
  public func endpoints(of key: ServiceKey) -> [ServiceEndpoint] { services[key]?.endpoints ?? [] }

  public func knows(_ identity: SPIFFEID) -> Bool { identities[identity] != nil }

  /// Everything that stands in `update`, checked by its decoder, in one step.
  public func applying(_ update: MeshSnapshotUpdate) -> MeshSnapshot {
    var next = update.isComplete ? MeshSnapshot() : self
    if update.isComplete { next.config = config }
    next.node = update.node
    if let config = update.config, config != next.config {
      let domainChanged = config.trustDomain != next.config.trustDomain
      next.config = config
      if domainChanged { next.recountIdentities() }
    }
    for key in update.removedServices { next.remove(service: key) }
    for service in update.services { next.set(service) }
    for id in update.removedWorkloads { next.remove(workload: id) }
    for workload in update.workloads { next.set(workload) }
    return next
  }
}

/// A change of the snapshot. Values have been validated.
public struct MeshSnapshotUpdate: Sendable {
  /// Replaces everything known before.
  public var isComplete = false
  public var node = ""
  public var config: MeshConfig?
  public var workloads: [Workload] = []
  public var removedWorkloads: [String] = []
  public var services: [Service] = []
  public var removedServices: [ServiceKey] = []
  public var routes: [Route] = []
  /// `Route.id`
  public var removedRoutes: [String] = []
  public var policies: [TrafficPolicy] = []
  /// `TrafficPolicy.id`
  public var removedPolicies: [String] = []

  public init() {}
}

/// A workload behind a Service.
public struct ServiceEndpoint: Sendable, Hashable {
  public let workloadID: String
  public let addresses: [IPAddress]
  public let node: String
  public let hostname: String
  public let isReady: Bool
  public let ports: [Workload.PortMapping]

  /// Where the Service's port is served; nil where this workload doesn't serve it.
  public func targetPort(for servicePort: UInt16) -> UInt16? {
    ports.first { $0.servicePort == servicePort }?.targetPort
  }
}

private struct ServiceEntry: Sendable {
  /// nil while only workloads speak of it: resources arrive in any order.
  var service: Service?
  var endpoints: [ServiceEndpoint] = []
}

extension MeshSnapshot {
  private mutating func set(_ service: Service) {
    for address in services[service.key]?.service?.addresses ?? [] where serviceKeys[address] == service.key {
      serviceKeys[address] = nil
    }
    services[service.key, default: ServiceEntry()].service = service
    for address in service.addresses { serviceKeys[address] = service.key }
  }

  private mutating func remove(service key: ServiceKey) {
    guard var entry = services[key] else { return }
    for address in entry.service?.addresses ?? [] where serviceKeys[address] == key { serviceKeys[address] = nil }
    entry.service = nil
    services[key] = entry.endpoints.isEmpty ? nil : entry
  }

  private mutating func set(_ workload: Workload) {
    remove(workload: workload.id)
    workloads[workload.id] = workload
    for address in workload.addresses { workloadIDs[address] = workload.id }
    if let identity = workload.identity(in: config.trustDomain) { identities[identity, default: 0] += 1 }
    for membership in workload.memberships {
      let endpoint = ServiceEndpoint(
        workloadID: workload.id, addresses: workload.addresses, node: workload.node, hostname: workload.hostname,
        isReady: workload.isReady, ports: membership.ports)
      var entry = services[membership.service] ?? ServiceEntry()
      let index = entry.endpoints.insertionIndex(of: workload.id)
      entry.endpoints.insert(endpoint, at: index)
      services[membership.service] = entry
    }
  }

  private mutating func remove(workload id: String) {
    guard let old = workloads.removeValue(forKey: id) else { return }
    for address in old.addresses where workloadIDs[address] == id { workloadIDs[address] = nil }
    if let identity = old.identity(in: config.trustDomain), let count = identities[identity] {
      identities[identity] = count > 1 ? count - 1 : nil
    }
    for membership in old.memberships {
      guard var entry = services[membership.service] else { continue }
      entry.endpoints.removeAll { $0.workloadID == id }
      services[membership.service] = entry.service == nil && entry.endpoints.isEmpty ? nil : entry
    }
  }

  private mutating func recountIdentities() {
    identities = [:]
    for (_, workload) in workloads {
      if let identity = workload.identity(in: config.trustDomain) { identities[identity, default: 0] += 1 }
    }
  }
}

extension [ServiceEndpoint] {
  fileprivate func insertionIndex(of id: String) -> Int {
    var low = 0
    var high = count
    while low < high {
      let middle = (low + high) / 2
      if self[middle].workloadID < id { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
