import MeshModel

/// Why a resource from outside can't be used: the field's path and what is wrong with it.
public struct InvalidResource: Error, Hashable, CustomStringConvertible {
  public let resource: String
  public let field: String
  public let reason: String

  public init(resource: String, field: String, reason: String) {
    self.resource = resource
    self.field = field
    self.reason = reason
  }

  public var description: String { "\(resource): \(field): \(reason)" }
}

extension Weft_Mesh_V1_Workload {
  public static let typeURL = "type.googleapis.com/weft.mesh.v1.Workload"

  public init(_ workload: Workload) {
    self.init()
    uid = workload.id
    namespace = workload.namespace
    name = workload.name
    serviceAccount = workload.serviceAccount
    node = workload.node
    addresses = workload.addresses.map { .init($0.bytes) }
    meshed = workload.isMeshed
    ready = workload.isReady
    failMode = workload.failMode == .open ? .open : .closed
    probePorts = workload.probePorts.map(UInt32.init)
    hostname = workload.hostname
    zone = workload.zone
    region = workload.region
    draining = workload.isDraining
    if workload.weight != 1 { weight = workload.weight }
    podUid = workload.podUID
    hostNetwork = workload.usesHostNetwork
    mode = Weft_Mesh_V1_WorkloadMode(rawValue: Int(workload.mode.rawValue)) ?? .node
    memberships = workload.memberships.map { membership in
      .with {
        $0.service = membership.service.description
        $0.ports = membership.ports.map { port in
          .with {
            $0.servicePort = UInt32(port.servicePort)
            $0.targetPort = UInt32(port.targetPort)
          }
        }
      }
    }
  }
}

extension Workload {
  /// Checks every field; at most 4 addresses, 1,000 memberships, 1,000 ports in each.
  public init(_ message: Weft_Mesh_V1_Workload) throws(InvalidResource) {
    let check = Check(resource: "workload \(message.uid.prefix(253))")
    try check(1...253 ~= message.uid.utf8.count, "uid", "must have 1 to 253 bytes")
    try check(DNSName.isLabel(message.namespace), "namespace", "is not a DNS label")
    try check(DNSName.isSubdomain(message.name), "name", "is not a DNS subdomain")
    try check(DNSName.isSubdomain(message.serviceAccount), "service_account", "is not a DNS subdomain")
    try check(message.addresses.count <= 4, "addresses", "more than 4")
    try check(message.memberships.count <= 1000, "memberships", "more than 1,000")
    var memberships: [Membership] = []
    for membership in message.memberships {
      guard let key = ServiceKey(membership.service) else {
        throw check.error("memberships.service", "is not namespace/name")
      }
      try check(membership.ports.count <= 1000, "memberships.ports", "more than 1,000")
      var ports: [PortMapping] = []
      for port in membership.ports {
        ports.append(
          PortMapping(
            servicePort: try check.port(port.servicePort, "memberships.ports.service_port"),
            targetPort: try check.port(port.targetPort, "memberships.ports.target_port")))
      }
      memberships.append(Membership(service: key, ports: ports))
    }
    var probePorts: [UInt16] = []
    for port in message.probePorts.prefix(64) { probePorts.append(try check.port(port, "probe_ports")) }
    self.init(
      id: message.uid, namespace: message.namespace, name: message.name, serviceAccount: message.serviceAccount,
      node: message.node, addresses: try check.addresses(message.addresses.map { Array($0) }),
      isMeshed: message.meshed, isReady: message.ready, failMode: message.failMode == .open ? .open : .closed,
      probePorts: probePorts, hostname: message.hostname, memberships: memberships,
      zone: try check.text(message.zone, "zone"), region: try check.text(message.region, "region"),
      isDraining: message.draining,
      weight: message.hasWeight ? try check.number(message.weight, 0...1_000_000, "weight") : 1,
      podUID: try check.text(message.podUid, "pod_uid"), usesHostNetwork: message.hostNetwork,
      mode: try Mode(message.mode, check))
  }
}

extension Workload.Mode {
  fileprivate init(_ mode: Weft_Mesh_V1_WorkloadMode, _ check: Check) throws(InvalidResource) {
    guard let known = UInt8(exactly: mode.rawValue).flatMap(Self.init(rawValue:)) else {
      throw check.error("mode", "is unknown to this version")
    }
    self = known
  }
}

extension Weft_Mesh_V1_Service {
  public static let typeURL = "type.googleapis.com/weft.mesh.v1.Service"

  public init(_ service: Service) {
    self.init()
    namespace = service.key.namespace
    name = service.key.name
    addresses = service.addresses.map { .init($0.bytes) }
    publishNotReadyAddresses = service.publishNotReadyAddresses
    clientAffinity = service.hasClientAffinity
    ports = service.ports.map { port in
      .with {
        $0.port = UInt32(port.port)
        $0.name = port.name
        $0.appProtocol = port.appProtocol
        $0.transport = port.transport == .udp ? .udp : .tcp
      }
    }
  }
}

extension Service {
  /// Checks every field; at most 4 addresses and 1,000 ports.
  public init(_ message: Weft_Mesh_V1_Service) throws(InvalidResource) {
    let text = "\(message.namespace)/\(message.name)"
    let check = Check(resource: "service \(text.prefix(130))")
    guard let key = ServiceKey(text) else { throw check.error("name", "is not a DNS label") }
    try check(message.addresses.count <= 4, "addresses", "more than 4")
    try check(message.ports.count <= 1000, "ports", "more than 1,000")
    var ports: [Port] = []
    for port in message.ports {
      ports.append(
        Port(
          port: try check.port(port.port, "ports.port"), name: port.name, appProtocol: port.appProtocol,
          transport: port.transport == .udp ? .udp : .tcp))
    }
    self.init(
      key: key, addresses: try check.addresses(message.addresses.map { Array($0) }), ports: ports,
      publishNotReadyAddresses: message.publishNotReadyAddresses, hasClientAffinity: message.clientAffinity)
  }
}

extension Weft_Mesh_V1_MeshConfig {
  public static let typeURL = "type.googleapis.com/weft.mesh.v1.MeshConfig"
  /// The one resource of this type.
  public static let resourceName = "mesh"

  public init(_ config: MeshConfig) {
    self.init()
    trustDomain = config.trustDomain.name
    clusterDomain = config.clusterDomain
    mutualTls = config.mutualTLS == .strict ? .strict : .permissive
  }
}

extension MeshConfig {
  public init(_ message: Weft_Mesh_V1_MeshConfig) throws(InvalidResource) {
    let check = Check(resource: "mesh config")
    guard let domain = TrustDomain(message.trustDomain) else {
      throw check.error("trust_domain", "is not a trust domain name")
    }
    try check(DNSName.isSubdomain(message.clusterDomain), "cluster_domain", "is not a DNS name")
    self.init(
      trustDomain: domain, clusterDomain: message.clusterDomain,
      mutualTLS: message.mutualTls == .strict ? .strict : .permissive)
  }
}
