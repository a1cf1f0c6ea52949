import MeshModel

/// All that a stub knows of the mesh.
public struct MeshTable {
  public internal(set) var config: StubMeshConfig
  /// Whether the control plane has said anything of the mesh's configuration yet.
  public internal(set) var hasConfig = false
  var workloads: [String: StubWorkload] = [:]
  var services: [String: StubService] = [:]
  /// Almost always one each; a pod may show up under the address of one that hasn't gone yet.
  private var workloadsAt: [IPAddress: [String]] = [:]
  private var servicesAt: [IPAddress: [String]] = [:]
  /// Service → the workloads that it selects, in the order of their ids.
  private var endpoints: [String: [String]] = [:]
  /// How many workloads have each identity.
  private var identities: [String: Int] = [:]

  public init(trustDomain: TrustDomain) { config = StubMeshConfig(trustDomain: trustDomain, isStrict: true) }

  public var workloadCount: Int { workloads.count }
  public var serviceCount: Int { services.count }

  public func workload(id: String) -> StubWorkload? { workloads[id] }

  /// Of several one that is ready.
  public func workload(at address: IPAddress) -> StubWorkload? {
    guard let ids = workloadsAt[address] else { return nil }
    return (ids.first { workloads[$0]?.isReady == true } ?? ids.first).flatMap { workloads[$0] }
  }

  public func service(at address: IPAddress) -> StubService? { servicesAt[address]?.first.flatMap { services[$0] } }

  /// The workloads that a Service selects, ready or not.
  public func endpoints(of service: String) -> [StubWorkload] {
    endpoints[service, default: []].compactMap { workloads[$0] }
  }

  public func knows(identityPath: String) -> Bool { identities[identityPath] != nil }

  public func identity(of workload: StubWorkload) -> String {
    "spiffe://\(config.trustDomain.name)/\(workload.identityPath)"
  }

  public mutating func set(_ config: StubMeshConfig) {
    self.config = config
    hasConfig = true
  }

  public mutating func set(_ workload: StubWorkload) {
    remove(workload: workload.id)
    workloads[workload.id] = workload
    for address in workload.addresses { workloadsAt[address, default: []].insertSorted(workload.id) }
    for membership in workload.memberships { endpoints[membership.service, default: []].insertSorted(workload.id) }
    identities[workload.identityPath, default: 0] += 1
  }

  public mutating func remove(workload id: String) {
    guard let old = workloads.removeValue(forKey: id) else { return }
    for address in old.addresses { workloadsAt.remove(id, from: address) }
    for membership in old.memberships { endpoints.remove(id, from: membership.service) }
    if let count = identities[old.identityPath] { identities[old.identityPath] = count > 1 ? count - 1 : nil }
  }

  public mutating func set(_ service: StubService) {
    remove(service: service.key)
    services[service.key] = service
    for address in service.addresses { servicesAt[address, default: []].insertSorted(service.key) }
  }

  public mutating func remove(service key: String) {
    guard let old = services.removeValue(forKey: key) else { return }
    for address in old.addresses { servicesAt.remove(key, from: address) }
  }
}

extension [String] {
  fileprivate mutating func insertSorted(_ id: String) {
    guard !contains(id) else { return }
    insert(id, at: firstIndex { id < $0 } ?? endIndex)
  }
}

extension Dictionary where Value == [String] {
  fileprivate mutating func remove(_ id: String, from key: Key) {
    self[key]?.removeAll { $0 == id }
    if self[key]?.isEmpty == true { self[key] = nil }
  }
}
