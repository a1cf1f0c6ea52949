import MeshModel

/// Makes one workload, or one Service, out of the objects in force. A pure function of the store.
struct WorkloadCompiler {
  let store: ObjectStore

  /// Memberships of one workload; the bound of a Workload resource.
  static let maximumMemberships = 1000

  /// nil where nothing follows from the pod: it has ended, or has neither a node nor an address yet.
  func workload(pod name: ObjectName) -> Workload? {
    guard let pod = store.pods[name], pod.isCompiled else { return nil }
    let node = store.nodes[pod.node]
    return Workload(
      id: name.description, namespace: name.namespace, name: name.name, serviceAccount: pod.serviceAccount,
      node: pod.node, addresses: pod.addresses, isMeshed: isMeshed(pod, in: name.namespace), isReady: pod.isReady,
      failMode: pod.failMode, probePorts: pod.probePorts, hostname: hostname(pod), memberships: memberships(name, pod),
      zone: node?.zone ?? "", region: node?.region ?? "", isDraining: pod.isDraining || isTerminating(name, pod),
      weight: pod.weight, podUID: pod.uid, usesHostNetwork: pod.usesHostNetwork, mode: pod.mode)
  }

  /// Whether a hand-written slice says so of one of its addresses.
  private func isTerminating(_ name: ObjectName, _ pod: PodObject) -> Bool {
    pod.addresses.contains { address in
      guard let slices = store.slicesByAddress[address], store.owner(of: address) == name else { return false }
      return slices.contains { slice in
        store.slices[slice]?.endpoints.contains { $0.address == address && $0.isDraining } == true
      }
    }
  }

  private func isMeshed(_ pod: PodObject, in namespace: String) -> Bool {
    guard !pod.usesHostNetwork else { return false }
    return switch pod.enrolment {
    case .enabled: true
    case .disabled: false
    // To have a stub is to ask for the mesh.
    case .unsaid:
      pod.mode != .node && store.namespaces[namespace]?.enrolment != .disabled
        || store.namespaces[namespace]?.enrolment == .enabled
    }
  }

  /// As in Kubernetes: a hostname counts in DNS only with the Service's name as subdomain.
  private func hostname(_ pod: PodObject) -> String { pod.subdomain.isEmpty ? "" : pod.hostname }

  private func memberships(_ name: ObjectName, _ pod: PodObject) -> [Workload.Membership] {
    // Nobody could reach it: it is no endpoint.
    guard !pod.addresses.isEmpty else { return [] }
    var found: [ObjectName: [Workload.PortMapping]] = [:]
    for service in store.services(selecting: pod, in: name.namespace) where !store.hasSlices(service) {
      guard let object = store.services[service], !object.isExternalName else { continue }
      found[service] = ports(of: object, in: pod)
    }
    for address in pod.addresses where store.slicesByAddress[address] != nil && store.owner(of: address) == name {
      for sliceName in store.slicesByAddress[address] ?? [] {
        guard let (service, mapping) = membership(sliceName, address, readyOnly: true) else { continue }
        found[service, default: []] += mapping.filter { found[service]?.contains($0) != true }
      }
    }
    return sorted(found)
  }

  private func sorted(_ found: [ObjectName: [Workload.PortMapping]]) -> [Workload.Membership] {
    found.sorted { $0.key < $1.key }.prefix(Self.maximumMemberships).map { service, ports in
      Workload.Membership(
        service: ServiceKey(namespace: service.namespace, name: service.name),
        ports: ports.sorted { ($0.servicePort, $0.targetPort) < ($1.servicePort, $1.targetPort) })
    }
  }

  /// A named port that the pod lacks is left out, as Kubernetes does.
  private func ports(of service: ServiceObject, in pod: PodObject) -> [Workload.PortMapping] {
    service.ports.compactMap { port in
      let target: UInt16? =
        switch port.target {
        case .number(let number): number
        case .name(let name): pod.ports.first { $0.name == name && $0.transport == port.transport }?.port
        }
      return target.map { Workload.PortMapping(servicePort: port.port, targetPort: $0) }
    }
  }

  /// - Parameter readyOnly: an endpoint that its slice calls unready is none, unless the Service wants those too.
  private func membership(
    _ sliceName: ObjectName, _ address: IPAddress, readyOnly: Bool
  ) -> (ObjectName, [Workload.PortMapping])? {
    guard let slice = store.slices[sliceName], let endpoint = slice.endpoints.first(where: { $0.address == address })
    else { return nil }
    let name = ObjectName(sliceName.namespace, slice.service)
    guard let service = store.services[name], !service.isExternalName else { return nil }
    guard endpoint.isReady || !readyOnly || service.publishNotReadyAddresses else { return nil }
    let mapping = service.ports.flatMap { port in
      slice.ports.filter { $0.name == port.name && $0.transport == port.transport }
        .prefix(1).map { Workload.PortMapping(servicePort: port.port, targetPort: $0.port) }
    }
    return (name, mapping)
  }

  /// The workloads of a slice's addresses that are no known pod's, by id.
  func workloads(slice name: ObjectName) -> [String: Workload] {
    var workloads: [String: Workload] = [:]
    for endpoint in store.slices[name]?.endpoints ?? [] where store.owner(of: endpoint.address) == nil {
      guard let (service, ports) = membership(name, endpoint.address, readyOnly: false) else { continue }
      let id = "endpointslice/\(name)/\(endpoint.address)"
      let place = store.nodes[endpoint.node]
      workloads[id] = Workload(
        id: id, namespace: name.namespace, name: name.name, serviceAccount: "default", node: endpoint.node,
        addresses: [endpoint.address], isMeshed: false, isReady: endpoint.isReady, hostname: endpoint.hostname,
        memberships: sorted([service: ports]), zone: endpoint.zone.isEmpty ? place?.zone ?? "" : endpoint.zone,
        region: place?.region ?? "", isDraining: endpoint.isDraining)
    }
    return workloads
  }

  /// nil where nothing follows from the Service (ExternalName).
  func service(_ name: ObjectName) -> Service? {
    guard let object = store.services[name], !object.isExternalName else { return nil }
    return Service(
      key: ServiceKey(namespace: name.namespace, name: name.name), addresses: object.addresses,
      ports: object.ports.map {
        Service.Port(
          port: $0.port, name: $0.name, appProtocol: appProtocol($0, object, in: name.namespace),
          transport: $0.transport)
      },
      publishNotReadyAddresses: object.publishNotReadyAddresses, hasClientAffinity: object.hasClientAffinity)
  }

  /// What the port says of itself goes before the Service's annotation, and that before the namespace's.
  private func appProtocol(_ port: ServiceObject.Port, _ service: ServiceObject, in namespace: String) -> String {
    guard port.transport == .tcp,
      AppProtocol(appProtocol: port.appProtocol, portName: port.name) == .unknown
    else { return port.appProtocol }
    let declared = service.protocols[port.port]
    let fallback = declared.isEmpty ? store.namespaces[namespace]?.appProtocol ?? "" : declared
    return fallback.isEmpty ? port.appProtocol : fallback
  }
}
