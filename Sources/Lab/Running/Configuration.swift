import MeshModel

/// What the lab adds to the objects as kubelet and API server would, and the folder that the control plane watches.
extension LabMaker {
  /// Gives every Service without an address one. Those given before stay, as they stand in the rendered objects.
  mutating func resolveServices() -> [Manifest.Key: [IPAddress]] {
    var used = Set(input.services.values.flatMap(\.addresses))
    var resolved: [Manifest.Key: [IPAddress]] = [:]
    var nextV4 = 0
    var nextV6 = 0
    for (key, service) in input.services.sorted(by: { $0.key < $1.key }) where !service.isHeadless {
      var addresses = service.addresses
      if service.wantsV4, !addresses.contains(where: { $0.family == .v4 }) {
        while used.contains(AddressPlan.serviceV4(nextV4)) { nextV4 += 1 }
        used.insert(AddressPlan.serviceV4(nextV4))
        addresses.append(AddressPlan.serviceV4(nextV4))
      }
      if service.wantsV6, state.hasIPv6, !addresses.contains(where: { $0.family == .v6 }) {
        while used.contains(AddressPlan.serviceV6(nextV6)) { nextV6 += 1 }
        used.insert(AddressPlan.serviceV6(nextV6))
        addresses.append(AddressPlan.serviceV6(nextV6))
      }
      resolved[key] = addresses
    }
    return resolved
  }

  /// Writes the objects named by `keys`, one file each.
  mutating func writeConfiguration(_ keys: some Sequence<Manifest.Key>) throws {
    try Files.makeFolder(layout.config)
    let services = resolveServices()
    for key in keys.sorted() {
      guard let manifest = input.manifests[key] else { continue }
      let object = rendered(manifest, services: services)
      let text = "# \(manifest.file):\(manifest.object.line)\n\(object.rendered())"
      try Files.writeAtomically(text, to: "\(layout.config)/\(key.fileName)")
    }
  }

  func removeConfiguration(_ key: Manifest.Key) throws {
    try Files.removeTree("\(layout.config)/\(key.fileName)")
  }

  func rendered(_ manifest: Manifest, services: [Manifest.Key: [IPAddress]]) -> YAMLValue {
    var object = manifest.object
    if !manifest.key.namespace.isEmpty {
      object["metadata"]?["namespace"] = .string(manifest.key.namespace)
    }
    switch manifest.key.kind {
    case "Node":
      guard let node = state.nodes.first(where: { $0.name == manifest.key.name }) else { break }
      var spec = object["spec"] ?? .map([])
      var ranges = [AddressPlan.podRangeV4(node: node.index)]
      if state.hasIPv6 { ranges.append(AddressPlan.podRangeV6(node: node.index)) }
      spec["podCIDR"] = .string(ranges[0])
      spec["podCIDRs"] = .list(ranges.map(YAMLValue.string))
      object["spec"] = spec
      object["status"] = .map([("addresses", .list(addresses(of: node))), ("conditions", Self.ready)])
    case "Pod":
      guard let pod = state.pods.first(where: { $0.id == PodName(manifest.key) }) else { break }
      let host = state.nodes.first { $0.name == pod.node }?.addresses.first ?? ""
      // Ready, unless the Pod itself says otherwise: no kubelet is here to find out.
      let conditions = object["status"]?["conditions"] ?? Self.ready
      object["status"] = .map([
        ("phase", .string("Running")), ("hostIP", .string(host)), ("podIP", .string(pod.addresses[0])),
        ("podIPs", .list(pod.addresses.map { .map([("ip", .string($0))]) })), ("conditions", conditions),
      ])
    case "Service":
      guard let addresses = services[manifest.key], let first = addresses.first else { break }
      object["spec"]?["clusterIP"] = .string(first.description)
      object["spec"]?["clusterIPs"] = .list(addresses.map { .string($0.description) })
    default: break
    }
    return object
  }

  private func addresses(of node: LabState.Node) -> [YAMLValue] {
    node.addresses.map { .map([("type", .string("InternalIP")), ("address", .string($0))]) }
      + [.map([("type", .string("Hostname")), ("address", .string(node.name))])]
  }

  private static let ready = YAMLValue.list([.map([("type", .string("Ready")), ("status", .string("True"))])])
}
