import MeshModel

/// What the lab reads of a Service: the addresses that it has and those that it must be given.
struct ServiceManifest: Sendable {
  let manifest: Manifest
  /// `clusterIP` and `clusterIPs` as written; empty where the lab allocates, or headless.
  let addresses: [IPAddress]
  let isHeadless: Bool
  let wantsV4: Bool
  let wantsV6: Bool

  private static let topFields: Set<String> = ["apiVersion", "kind", "metadata", "spec", "status"]
  private static let specFields: Set<String> = [
    "allocateLoadBalancerNodePorts", "clusterIP", "clusterIPs", "externalIPs", "externalName",
    "externalTrafficPolicy", "healthCheckNodePort", "internalTrafficPolicy", "ipFamilies", "ipFamilyPolicy",
    "loadBalancerClass", "loadBalancerIP", "loadBalancerSourceRanges", "ports", "publishNotReadyAddresses",
    "selector", "sessionAffinity", "sessionAffinityConfig", "trafficDistribution", "type",
  ]
  private static let portFields: Set<String> = [
    "appProtocol", "name", "nodePort", "port", "protocol", "targetPort",
  ]

  /// - Throws: `LabError` naming file, line and field.
  init(_ manifest: Manifest) throws {
    self.manifest = manifest
    let root = manifest.root
    _ = try root.map(known: Self.topFields)
    guard DNSName.isLabel(manifest.key.name) else { throw root["metadata"]["name"].error("is no DNS label") }
    let spec = root["spec"]
    guard spec.isPresent else { throw spec.error("is required") }
    _ = try spec.map(known: Self.specFields)
    _ = try spec["selector"].stringMap()
    let type = try spec["type"].choice(
      ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"], default: "ClusterIP")
    try Self.checkPorts(spec["ports"])

    var written = try spec["clusterIPs"].strings().map { (text: $0, field: spec["clusterIPs"]) }
    if let single = try spec["clusterIP"].string(), !single.isEmpty {
      guard written.isEmpty || written[0].text == single else {
        throw spec["clusterIP"].error("differs from the first of clusterIPs")
      }
      if written.isEmpty { written = [(single, spec["clusterIP"])] }
    }
    isHeadless = type == "ExternalName" || written.map(\.text) == ["None"]
    addresses =
      isHeadless
      ? []
      : try written.map { entry in
        guard let address = IPAddress(entry.text), !address.isUnspecified, !address.isLoopback else {
          throw entry.field.error("\"\(entry.text)\" is neither an IP address nor None")
        }
        return address
      }
    guard addresses.count <= 2, addresses.count < 2 || addresses[0].family != addresses[1].family else {
      throw spec["clusterIPs"].error("at most one IPv4 and one IPv6 address")
    }
    let families = try spec["ipFamilies"].strings()
    for family in families where family != "IPv4" && family != "IPv6" {
      throw spec["ipFamilies"].error("expected IPv4 or IPv6, found \"\(family)\"")
    }
    let policy = try spec["ipFamilyPolicy"].choice(
      ["SingleStack", "PreferDualStack", "RequireDualStack"], default: "SingleStack")
    let dual = policy != "SingleStack" || families.count > 1
    wantsV4 = dual || families.first != "IPv6"
    wantsV6 = dual || families.first == "IPv6"
  }

  private static func checkPorts(_ field: Field) throws {
    for port in try field.list() {
      _ = try port.map(known: portFields)
      _ = try port["port"].required(port["port"].int(in: 1...65535))
      _ = try port["protocol"].choice(["TCP", "UDP", "SCTP"], default: "TCP")
      _ = try port["name"].string()
      _ = try port["appProtocol"].string()
      let target = port["targetPort"]
      if case .int? = target.value?.content { _ = try target.int(in: 1...65535) } else { _ = try target.string() }
    }
  }
}
