import HashTreeCollections
import MeshModel

/// All that the data path knows of the mesh, as one immutable value. A new snapshot shares what didn't
/// change with the one before it (persistent hash trees), so a change costs what it touches.
public struct MeshSnapshot: Sendable {
  public private(set) var config = MeshConfig()
  /// The node that this proxy serves.
  public private(set) var node = ""
  private var workloads: TreeDictionary<String, Workload> = [:]
  private var workloadIDs = AddressOwners<String>()
  private var services: TreeDictionary<ServiceKey, ServiceEntry> = [:]
  private var serviceKeys = AddressOwners<ServiceKey>()
  /// How many workloads carry each identity: what a client may call itself.
  private var identities: TreeDictionary<SPIFFEID, Int> = [:]
  private var traffic = TrafficIndex()
  /// Counts the changes: each snapshot's is greater than that of the one before it.
  public private(set) var version: UInt64 = 0

  public init() {}

  public var workloadCount: Int { workloads.count }
  public var serviceCount: Int { services.lazy.count { $0.value.service != nil } }

  public func workload(id: String) -> Workload? { workloads[id] }

  /// Of several one that is ready: a pod that has ended may still be known by an address that another has now.
  public func workload(at address: IPAddress) -> Workload? {
    workloadIDs.owner(of: address) { workloads[$0]?.isReady == true }.flatMap { workloads[$0] }
  }

  public func service(_ key: ServiceKey) -> Service? { services[key]?.service }

  public func service(at address: IPAddress) -> Service? {
    serviceKeys.owner(of: address) { _ in true }.flatMap { services[$0]?.service }
  }

  /// The workloads that the Service selects, ready or not, in the order of their ids.
  public func endpoints(of key: ServiceKey) -> [ServiceEndpoint] { services[key]?.endpoints ?? [] }

  /// The version in which the Service or its endpoints changed last; 0 for one that is unknown.
  public func revision(of key: ServiceKey) -> UInt64 { services[key]?.revision ?? 0 }

  /// The routes and policies of a Service's TCP port; nil where there is no such port.
  public func traffic(of key: ServiceKey, port: UInt16) -> PortTraffic? { traffic.port(port, of: key) }

  /// In the order of their keys.
  public var allServices: [Service] { services.values.compactMap(\.service).sorted { $0.key < $1.key } }

  public var routes: [Route] { traffic.allRoutes }
  public var policies: [TrafficPolicy] { traffic.allPolicies }

  public func knows(_ identity: SPIFFEID) -> Bool { identities[identity] != nil }

  /// Everything that stands in `update`, checked by its decoder, in one step.
  public func applying(_ update: MeshSnapshotUpdate) -> MeshSnapshot {
    var next = update.isComplete ? MeshSnapshot() : self
    if update.isComplete { next.config = config }
    next.version = version + 1
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
    let changed = Set(update.removedServices).union(update.services.map(\.key))
    let services = next.services
    next.traffic.apply(update, changed: changed, before: traffic) { services[$0]?.service }
    return next
  }
}

/// A change of the snapshot. Values have been validated.
public struct MeshSnapshotUpdate: Sendable {
  /// Replaces everything known before.
  public var isComplete = false
  public var node = ""
  /// The time of the change, in the workers' clock.
  public var now: NanoTime = 0
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
  var revision: UInt64 = 0
}

extension MeshSnapshot {
  private mutating func set(_ service: Service) {
    for address in services[service.key]?.service?.addresses ?? [] { serviceKeys.remove(service.key, at: address) }
    services[service.key, default: ServiceEntry()].service = service
    services[service.key]?.revision = version
    for address in service.addresses { serviceKeys.insert(service.key, at: address) }
  }

  private mutating func remove(service key: ServiceKey) {
    guard var entry = services[key] else { return }
    for address in entry.service?.addresses ?? [] { serviceKeys.remove(key, at: address) }
    entry.service = nil
    entry.revision = version
    services[key] = entry.endpoints.isEmpty ? nil : entry
  }

  private mutating func set(_ workload: Workload) {
    remove(workload: workload.id)
    workloads[workload.id] = workload
    for address in workload.addresses { workloadIDs.insert(workload.id, at: address) }
    if let identity = workload.identity(in: config.trustDomain) { identities[identity, default: 0] += 1 }
    for membership in workload.memberships {
      let endpoint = ServiceEndpoint(
        workloadID: workload.id, addresses: workload.addresses, node: workload.node, hostname: workload.hostname,
        isReady: workload.isReady, ports: membership.ports)
      var entry = services[membership.service] ?? ServiceEntry()
      let index = entry.endpoints.insertionIndex(of: workload.id)
      entry.endpoints.insert(endpoint, at: index)
      entry.revision = version
      services[membership.service] = entry
    }
  }

  private mutating func remove(workload id: String) {
    guard let old = workloads.removeValue(forKey: id) else { return }
    for address in old.addresses { workloadIDs.remove(id, at: address) }
    if let identity = old.identity(in: config.trustDomain), let count = identities[identity] {
      identities[identity] = count > 1 ? count - 1 : nil
    }
    for membership in old.memberships {
      guard var entry = services[membership.service] else { continue }
      entry.endpoints.removeAll { $0.workloadID == id }
      entry.revision = version
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
