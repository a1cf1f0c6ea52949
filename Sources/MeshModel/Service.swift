/// `namespace/name` of a Service.
public struct ServiceKey: Hashable, Comparable, Sendable, CustomStringConvertible {
  public var namespace: String
  public var name: String

  public init(namespace: String, name: String) {
    self.namespace = namespace
    self.name = name
  }

  /// Parses `namespace/name`.
  public init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, DNSName.isLabel(parts[0]), DNSName.isLabel(parts[1]) else { return nil }
    self.init(namespace: String(parts[0]), name: String(parts[1]))
  }

  /// By namespace, then by name.
  public static func < (left: ServiceKey, right: ServiceKey) -> Bool {
    (left.namespace, left.name) < (right.namespace, right.name)
  }

  public var description: String { "\(namespace)/\(name)" }
}

/// A Service without its endpoints: they stand in each `Workload`'s memberships, so that a pod's change
/// costs one resource and not the Service's whole list.
public struct Service: Hashable, Sendable, Identifiable {
  public var key: ServiceKey
  /// Cluster IPs; empty where headless.
  public var addresses: [IPAddress]
  public var ports: [Port]
  /// DNS answers with unready endpoints too.
  public var publishNotReadyAddresses: Bool
  /// `sessionAffinity: ClientIP`: a client's address decides which endpoint it meets.
  public var hasClientAffinity: Bool

  public var id: ServiceKey { key }
  public var isHeadless: Bool { addresses.isEmpty }

  public struct Port: Hashable, Sendable {
    public var port: UInt16
    /// Empty where the Service has one unnamed port.
    public var name: String
    /// `appProtocol`, empty where not declared.
    public var appProtocol: String
    public var transport: Transport

    public init(port: UInt16, name: String = "", appProtocol: String = "", transport: Transport = .tcp) {
      self.port = port
      self.name = name
      self.appProtocol = appProtocol
      self.transport = transport
    }
  }

  public enum Transport: UInt8, Hashable, Sendable { case tcp, udp }

  public init(
    key: ServiceKey, addresses: [IPAddress], ports: [Port], publishNotReadyAddresses: Bool = false,
    hasClientAffinity: Bool = false
  ) {
    self.key = key
    self.addresses = addresses
    self.ports = ports
    self.publishNotReadyAddresses = publishNotReadyAddresses
    self.hasClientAffinity = hasClientAffinity
  }
}
