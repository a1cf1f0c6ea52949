import MeshModel

@testable import ProxyCore

extension Workload {
  /// A meshed, ready pod named `shop/<name>` with the service account `sa-<name>`.
  static func sample(
    _ name: String, _ addresses: String..., node: String = "one", isMeshed: Bool = true, isReady: Bool = true,
    services: [String: [(UInt16, UInt16)]] = [:], account: String? = nil
  ) -> Workload {
    Workload(
      id: "shop/\(name)", namespace: "shop", name: name, serviceAccount: account ?? "sa-\(name)", node: node,
      addresses: addresses.map { IPAddress($0)! }, isMeshed: isMeshed, isReady: isReady,
      memberships: services.sorted { $0.key < $1.key }.map { name, ports in
        Membership(
          service: ServiceKey(namespace: "shop", name: name),
          ports: ports.map { PortMapping(servicePort: $0.0, targetPort: $0.1) })
      })
  }
}

extension Service {
  static func sample(_ name: String, _ addresses: String..., ports: [UInt16] = [80]) -> Service {
    Service(
      key: ServiceKey(namespace: "shop", name: name), addresses: addresses.map { IPAddress($0)! },
      ports: ports.map { Port(port: $0) })
  }
}

extension MeshSnapshotUpdate {
  init(
    _ workloads: [Workload] = [], services: [Service] = [], removed: [String] = [], removedServices: [String] = [],
    config: MeshConfig? = nil, isComplete: Bool = false
  ) {
    self.init()
    node = "one"
    self.isComplete = isComplete
    self.config = config
    self.workloads = workloads
    self.services = services
    removedWorkloads = removed
    self.removedServices = removedServices.map { ServiceKey(namespace: "shop", name: $0) }
  }
}

extension MeshSnapshot {
  static func of(_ workloads: [Workload], services: [Service] = [], config: MeshConfig? = nil) -> MeshSnapshot {
    MeshSnapshot().applying(MeshSnapshotUpdate(workloads, services: services, config: config))
  }
}
