import MeshModel

/// The objects in force, with the indexes by which one object's change finds the others that it touches.
struct ObjectStore: Sendable {
  private(set) var pods: [ObjectName: PodObject] = [:]
  private(set) var services: [ObjectName: ServiceObject] = [:]
  private(set) var slices: [ObjectName: EndpointSliceObject] = [:]
  private(set) var namespaces: [String: NamespaceObject] = [:]
  private(set) var nodes: [String: NodeObject] = [:]
  private(set) var peerAuthentications: [ObjectName: PeerAuthenticationObject] = [:]

  private(set) var podsByNamespace: [String: Set<String>] = [:]
  private(set) var podsByNode: [String: Set<ObjectName>] = [:]
  private(set) var servicesByNamespace: [String: Set<String>] = [:]
  private(set) var slicesByNode: [String: Set<ObjectName>] = [:]
  private(set) var podsByAddress: [IPAddress: Set<ObjectName>] = [:]
  private(set) var slicesByService: [ObjectName: Set<ObjectName>] = [:]
  private(set) var slicesByAddress: [IPAddress: Set<ObjectName>] = [:]
  private var podsByLabel = LabelIndex()
  /// Each Service stands under one pair of its selector: a pod that lacks it can't be selected.
  private var servicesByLabel = LabelIndex()
  private var servicePairs: [ObjectName: LabelPair] = [:]
  /// Per node and service account, how many pods that have not ended.
  private var accounts: [ScheduledAccount: Int] = [:]

  /// Namespaces, each with how many pods with a stub in tunnel mode that have not ended.
  private(set) var tunnels: [String: Int] = [:]

  private struct ScheduledAccount: Hashable {
    var node: String
    var account: ObjectName
  }

  // MARK: Questions

  /// Whether a pod of this service account that has not ended is bound to the node.
  func isScheduled(account: ObjectName, node: String) -> Bool {
    accounts[ScheduledAccount(node: node, account: account)] != nil
  }

  /// The Services whose selector takes the pod.
  func services(selecting pod: PodObject, in namespace: String) -> [ObjectName] {
    var found: [ObjectName] = []
    for (key, value) in pod.labels {
      for name in servicesByLabel.names(LabelPair(key: key, value: value), in: namespace) {
        let service = ObjectName(namespace, name)
        if let selector = services[service]?.selector, pod.labels.matches(selector) { found.append(service) }
      }
    }
    return found
  }

  /// The pods that a selector takes; none for an empty one.
  func pods(selectedBy selector: [String: String], in namespace: String) -> [ObjectName] {
    let pairs = selector.map { LabelPair(key: $0, value: $1) }
    guard let rarest = pairs.min(by: { podsByLabel.count($0, in: namespace) < podsByLabel.count($1, in: namespace) })
    else { return [] }
    return podsByLabel.names(rarest, in: namespace).map { ObjectName(namespace, $0) }
      .filter { pods[$0]?.labels.matches(selector) == true }
  }

  /// The pod that an address of an EndpointSlice means: of several the first with a network of its own.
  func owner(of address: IPAddress) -> ObjectName? {
    let candidates = podsByAddress[address] ?? []
    return candidates.min { left, right in
      let leftShares = pods[left]?.usesHostNetwork ?? false
      let rightShares = pods[right]?.usesHostNetwork ?? false
      return leftShares == rightShares ? left < right : !leftShares
    }
  }

  /// Whether hand-written slices name the Service's endpoints, instead of its selector.
  func hasSlices(_ service: ObjectName) -> Bool { slicesByService[service] != nil }

  // MARK: Changes

  mutating func set(pod new: PodObject?, _ name: ObjectName) {
    if let old = pods[name] {
      if old.isTunnel { tunnels.add(-1, under: name.namespace) }
      podsByNamespace.remove(name.name, under: name.namespace)
      podsByNode.remove(name, under: old.node)
      for (key, value) in old.labels { podsByLabel.remove(name, under: LabelPair(key: key, value: value)) }
      if old.isCompiled { for address in old.addresses { podsByAddress.remove(name, under: address) } }
      if let account = old.scheduledAccount(name) { accounts.add(-1, under: .init(node: old.node, account: account)) }
    }
    pods[name] = new
    guard let new else { return }
    if new.isTunnel { tunnels.add(1, under: name.namespace) }
    podsByNamespace[name.namespace, default: []].insert(name.name)
    podsByNode[new.node, default: []].insert(name)
    for (key, value) in new.labels { podsByLabel.insert(name, under: LabelPair(key: key, value: value)) }
    if new.isCompiled { for address in new.addresses { podsByAddress[address, default: []].insert(name) } }
    if let account = new.scheduledAccount(name) { accounts.add(1, under: .init(node: new.node, account: account)) }
  }

  mutating func set(service new: ServiceObject?, _ name: ObjectName) {
    if let pair = servicePairs.removeValue(forKey: name) { servicesByLabel.remove(name, under: pair) }
    services[name] = new
    if new == nil {
      servicesByNamespace.remove(name.name, under: name.namespace)
    } else {
      servicesByNamespace[name.namespace, default: []].insert(name.name)
    }
    let pairs = (new?.selector ?? [:]).map { LabelPair(key: $0, value: $1) }
    // The pair that the fewest others stand under keeps the candidates of a pod few.
    let counts = pairs.map { servicesByLabel.count($0, in: name.namespace) }
    guard let least = counts.indices.min(by: { counts[$0] < counts[$1] }) else { return }
    servicePairs[name] = pairs[least]
    servicesByLabel.insert(name, under: pairs[least])
  }

  mutating func set(slice new: EndpointSliceObject?, _ name: ObjectName) {
    if let old = slices[name], !old.service.isEmpty {
      slicesByService.remove(name, under: ObjectName(name.namespace, old.service))
      for endpoint in old.endpoints {
        slicesByAddress.remove(name, under: endpoint.address)
        slicesByNode.remove(name, under: endpoint.node)
      }
    }
    slices[name] = new
    guard let new, !new.service.isEmpty else { return }
    slicesByService[ObjectName(name.namespace, new.service), default: []].insert(name)
    for endpoint in new.endpoints {
      slicesByAddress[endpoint.address, default: []].insert(name)
      slicesByNode[endpoint.node, default: []].insert(name)
    }
  }

  mutating func set(namespace new: NamespaceObject?, _ name: String) {
    namespaces[name] = new
  }

  mutating func set(node new: NodeObject?, _ name: String) {
    nodes[name] = new
  }

  mutating func set(peerAuthentication new: PeerAuthenticationObject?, _ name: ObjectName) {
    peerAuthentications[name] = new
  }
}

extension PodObject {
  /// Whether a workload follows from it: its node's agent has to know it before it runs, and so before it has an address.
  var isCompiled: Bool { !hasEnded && (!addresses.isEmpty || !node.isEmpty) }

  fileprivate var isTunnel: Bool { !hasEnded && mode == .stubTunnel }

  fileprivate func scheduledAccount(_ name: ObjectName) -> ObjectName? {
    hasEnded || node.isEmpty ? nil : ObjectName(name.namespace, serviceAccount)
  }
}

extension [String: String] {
  /// Whether these labels have every pair of the selector; an empty selector takes nothing.
  func matches(_ selector: [String: String]) -> Bool {
    !selector.isEmpty && selector.allSatisfy { self[$0.key] == $0.value }
  }
}
