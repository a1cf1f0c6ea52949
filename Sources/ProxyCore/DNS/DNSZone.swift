import MeshModel

/// What the resolver knows of the mesh.
public protocol DNSZone {
  /// The suffix of all Service names, `cluster.local`; everything under it is answered here.
  var clusterDomain: String { get }

  func dnsRecord(of key: ServiceKey) -> DNSServiceRecord?

  /// Whether the address is a Service's or a workload's: nobody else is asked for its reverse name.
  func isMeshAddress(_ address: IPAddress) -> Bool
}

/// A Service as DNS shows it (Kubernetes' "DNS-Based Service Discovery", version 1.1.0).
public struct DNSServiceRecord: Hashable, Sendable {
  public var service: Service
  /// The workloads behind it, in a stable order.
  public var endpoints: [ServiceEndpoint]

  public init(service: Service, endpoints: [ServiceEndpoint]) {
    self.service = service
    self.endpoints = endpoints
  }

  var shownEndpoints: some Sequence<ServiceEndpoint> {
    endpoints.lazy.filter { $0.isReady || service.publishNotReadyAddresses }
  }
}

extension MeshSnapshot: DNSZone {
  public var clusterDomain: String { config.clusterDomain }

  public func dnsRecord(of key: ServiceKey) -> DNSServiceRecord? {
    service(key).map { DNSServiceRecord(service: $0, endpoints: endpoints(of: key)) }
  }

  public func isMeshAddress(_ address: IPAddress) -> Bool {
    service(at: address) != nil || workload(at: address) != nil
  }
}

extension ServiceEndpoint {
  /// The label before a headless Service's name: the hostname or, since an SRV record has to name something,
  /// the address with dashes. Nil for an endpoint with neither.
  var dnsLabel: String? { hostname.isEmpty ? addresses.first.map(Self.dashed) : hostname }

  func hasDNSLabel(_ label: String) -> Bool {
    hostname.isEmpty ? addresses.contains { Self.dashed($0) == label } : hostname == label
  }

  private static func dashed(_ address: IPAddress) -> String {
    // No label begins or ends with a dash: an address that begins or ends with "::" gets a zero there.
    var text = address.description
    if text.hasPrefix(":") { text = "0" + text }
    if text.hasSuffix(":") { text += "0" }
    let separators = [UInt8(ascii: "."), UInt8(ascii: ":")]
    return String(decoding: text.utf8.map { separators.contains($0) ? UInt8(ascii: "-") : $0 }, as: UTF8.self)
  }
}
