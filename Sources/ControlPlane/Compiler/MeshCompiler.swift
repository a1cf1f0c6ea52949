import MeshModel

/// Turns objects into the mesh's resources, and a change of objects into the change of resources: it costs
/// what the change touches, whatever the size of the mesh. No I/O, no time.
struct MeshCompiler: Sendable {
  /// How many results were computed anew since the start.
  struct Work: Hashable, Sendable {
    var workloads = 0
    var services = 0
    var slices = 0
    var routes = 0
    var policies = 0
  }

  private(set) var work = Work()
  private(set) var workloads: [String: Workload] = [:]
  private(set) var services: [ServiceKey: Service] = [:]
  private(set) var config: MeshConfig
  private var store = ObjectStore()
  private(set) var traffic = TrafficCompiler()
  private var sliceWorkloads: [ObjectName: Set<String>] = [:]
  private var meshedPods: [String: Int] = [:]
  private var hasReportedConfig = false

  /// What a change touches.
  private struct Dirty {
    var pods: Set<ObjectName> = []
    var services: Set<ObjectName> = []
    var slices: Set<ObjectName> = []
  }

  /// - Parameter config: what holds while no PeerAuthentication says otherwise.
  init(config: MeshConfig) {
    self.config = config
  }

  /// The nodes with a meshed workload.
  var meshedNodes: Set<String> { Set(meshedPods.keys) }

  func hasNode(_ name: String) -> Bool { store.nodes[name] != nil }

  func isScheduled(_ identity: SPIFFEID, node: String) -> Bool {
    identity.trustDomain == config.trustDomain
      && store.isScheduled(account: ObjectName(identity.namespace, identity.serviceAccount), node: node)
  }

  /// Takes all changes as one: what is touched twice is compiled once. The first call also reports the config.
  mutating func apply(_ changes: [ObjectChange]) -> MeshDelta {
    var dirty = Dirty()
    for change in changes { apply(change, &dirty) }
    var delta = MeshDelta()
    let compiler = WorkloadCompiler(store: store)
    for name in dirty.services { compile(service: name, compiler, &delta) }
    for name in dirty.pods { compile(pod: name, compiler, &delta) }
    for name in dirty.slices { compile(slice: name, compiler, &delta) }
    traffic.compile(store.services, &delta, &work)
    compileConfig(&delta)
    return delta
  }

  private mutating func apply(_ change: ObjectChange, _ dirty: inout Dirty) {
    let name = change.key.name
    switch (change.key.kind, change.object) {
    case (.pod, .pod(let new)?): set(pod: new, name, &dirty)
    case (.pod, _): set(pod: nil, name, &dirty)
    case (.service, .service(let new)?): set(service: new, name, &dirty)
    case (.service, _): set(service: nil, name, &dirty)
    case (.endpointSlice, .endpointSlice(let new)?): set(slice: new, name, &dirty)
    case (.endpointSlice, _): set(slice: nil, name, &dirty)
    case (.namespace, .namespace(let new)?): set(namespace: new, name.name, &dirty)
    case (.namespace, _): set(namespace: nil, name.name, &dirty)
    case (.peerAuthentication, .peerAuthentication(let new)?): store.set(peerAuthentication: new, name)
    case (.peerAuthentication, _): store.set(peerAuthentication: nil, name)
    case (.node, .node(let new)?): set(node: new, name.name, &dirty)
    case (.node, _): set(node: nil, name.name, &dirty)
    case (.httpRoute, _), (.grpcRoute, _), (.tcpRoute, _), (.tlsRoute, _):
      if case .route(let new) = change.object {
        traffic.set(route: new, change.key)
      } else {
        traffic.set(route: nil, change.key)
      }
    case (.referenceGrant, .referenceGrant(let new)?): traffic.set(grant: new, name)
    case (.referenceGrant, _): traffic.set(grant: nil, name)
    case (.trafficPolicy, .trafficPolicy(let new)?): traffic.set(policy: new, name)
    case (.trafficPolicy, _): traffic.set(policy: nil, name)
    case (.serviceAccount, _): break
    }
  }

  // MARK: What a change touches

  private mutating func set(pod new: PodObject?, _ name: ObjectName, _ dirty: inout Dirty) {
    let old = store.pods[name]
    guard old != new else { return }
    store.set(pod: new, name)
    dirty.pods.insert(name)
    let before = old?.isCompiled == true ? old?.addresses ?? [] : []
    let after = new?.isCompiled == true ? new?.addresses ?? [] : []
    guard before != after || old?.usesHostNetwork != new?.usesHostNetwork else { return }
    // The addresses of hand-written slices may be this pod's now, or another's.
    for address in before + after {
      guard let slices = store.slicesByAddress[address] else { continue }
      dirty.slices.formUnion(slices)
      dirty.pods.formUnion(store.podsByAddress[address] ?? [])
    }
  }

  private mutating func set(service new: ServiceObject?, _ name: ObjectName, _ dirty: inout Dirty) {
    let old = store.services[name]
    guard old != new else { return }
    store.set(service: new, name)
    dirty.services.insert(name)
    touchEndpoints(of: name, selector: old?.selector ?? [:], &dirty)
    touchEndpoints(of: name, selector: new?.selector ?? [:], &dirty)
    if old?.concernsRoutes(as: new) != true { traffic.touch(service: name) }
  }

  private mutating func set(node new: NodeObject?, _ name: String, _ dirty: inout Dirty) {
    guard store.nodes[name] != new else { return }
    store.set(node: new, name)
    dirty.pods.formUnion(store.podsByNode[name] ?? [])
    dirty.slices.formUnion(store.slicesByNode[name] ?? [])
  }

  private mutating func set(slice new: EndpointSliceObject?, _ name: ObjectName, _ dirty: inout Dirty) {
    let old = store.slices[name]
    guard old != new else { return }
    store.set(slice: new, name)
    dirty.slices.insert(name)
    for slice in [old, new].compactMap({ $0 }) where !slice.service.isEmpty {
      for endpoint in slice.endpoints { dirty.pods.formUnion(store.podsByAddress[endpoint.address] ?? []) }
      // Its first slice, or the loss of its last, turns the Service's selector off or on.
      let service = ObjectName(name.namespace, slice.service)
      let pods = store.pods(selectedBy: store.services[service]?.selector ?? [:], in: name.namespace)
      dirty.pods.formUnion(pods)
    }
  }

  private mutating func set(namespace new: NamespaceObject?, _ name: String, _ dirty: inout Dirty) {
    let old = store.namespaces[name]
    store.set(namespace: new, name)
    if old?.appProtocol ?? "" != new?.appProtocol ?? "" {
      dirty.services.formUnion((store.servicesByNamespace[name] ?? []).map { ObjectName(name, $0) })
    }
    guard old?.enrolment ?? .unsaid != new?.enrolment ?? .unsaid else { return }
    dirty.pods.formUnion((store.podsByNamespace[name] ?? []).map { ObjectName(name, $0) })
  }

  private func touchEndpoints(of service: ObjectName, selector: [String: String], _ dirty: inout Dirty) {
    guard let slices = store.slicesByService[service] else {
      dirty.pods.formUnion(store.pods(selectedBy: selector, in: service.namespace))
      return
    }
    dirty.slices.formUnion(slices)
    for endpoint in slices.compactMap({ store.slices[$0]?.endpoints }).joined() {
      dirty.pods.formUnion(store.podsByAddress[endpoint.address] ?? [])
    }
  }

  // MARK: Results

  private mutating func compile(pod name: ObjectName, _ compiler: WorkloadCompiler, _ delta: inout MeshDelta) {
    work.workloads += 1
    replace(name.description, with: compiler.workload(pod: name), &delta)
  }

  private mutating func compile(slice name: ObjectName, _ compiler: WorkloadCompiler, _ delta: inout MeshDelta) {
    work.slices += 1
    let new = compiler.workloads(slice: name)
    for id in sliceWorkloads[name] ?? [] where new[id] == nil { replace(id, with: nil, &delta) }
    for (id, workload) in new { replace(id, with: workload, &delta) }
    sliceWorkloads[name] = new.isEmpty ? nil : Set(new.keys)
  }

  private mutating func replace(_ id: String, with new: Workload?, _ delta: inout MeshDelta) {
    let old = workloads[id]
    guard old != new else { return }
    if let old, old.isMeshed, !old.node.isEmpty { meshedPods.add(-1, under: old.node) }
    if let new, new.isMeshed, !new.node.isEmpty { meshedPods.add(1, under: new.node) }
    workloads[id] = new
    if let new { delta.workloads[id] = new } else { delta.removedWorkloads.insert(id) }
  }

  private mutating func compile(service name: ObjectName, _ compiler: WorkloadCompiler, _ delta: inout MeshDelta) {
    work.services += 1
    let key = ServiceKey(namespace: name.namespace, name: name.name)
    let new = compiler.service(name)
    guard services[key] != new else { return }
    services[key] = new
    if let new { delta.services[key] = new } else { delta.removedServices.insert(key) }
  }

  private mutating func compileConfig(_ delta: inout MeshDelta) {
    var new = config
    new.mutualTLS = store.peerAuthentications[ObjectDecoder.meshWide]?.mutualTLS ?? .permissive
    guard new != config || !hasReportedConfig else { return }
    config = new
    hasReportedConfig = true
    delta.config = new
  }
}
