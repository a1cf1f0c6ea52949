import MeshModel

/// A workload as a stub needs it; it may have to hold many, so it keeps little of each.
public struct StubWorkload: Equatable {
  /// `namespace/name`
  public var id: String
  /// The path of its SPIFFE ID: `ns/NAMESPACE/sa/ACCOUNT`.
  public var identityPath: String
  public var addresses: [IPAddress]
  public var isMeshed: Bool
  public var isReady: Bool
  public var isDraining: Bool
  public var weight: UInt32
  /// Few have any: those of others don't matter, only a stub's own.
  public var probePorts: [UInt16]
  public var memberships: [Membership]

  public struct Membership: Equatable {
    /// `namespace/name`
    public var service: String
    public var ports: [Workload.PortMapping]
  }

  public var takesConnections: Bool { isReady && !isDraining && weight > 0 }
}

/// A Service as a stub needs it.
public struct StubService: Equatable {
  /// `namespace/name`
  public var key: String
  public var addresses: [IPAddress]
  /// Of TCP.
  public var ports: [UInt16]
}

extension StubWorkload {
  /// Reads weft.mesh.v1.Workload and checks every field: at most 4 addresses, 1,000 memberships, 1,000 ports in each.
  public init(protobuf bytes: UnsafeRawBufferPointer) throws(WireError) {
    var id = ""
    var namespace = ""
    var account = ""
    var reader = ProtobufReader(bytes)
    self.init(
      id: "", identityPath: "", addresses: [], isMeshed: false, isReady: false, isDraining: false, weight: 1,
      probePorts: [], memberships: [])
    while let (number, value) = try reader.next() {
      switch number {
      case 1: id = try value.text("uid", upTo: 253)
      case 2: namespace = try value.text("namespace", upTo: 63)
      case 4: account = try value.text("service_account", upTo: 253)
      case 6: addresses.append(try address(value.data("addresses"), held: addresses.count))
      case 7: isMeshed = try value.flag("meshed")
      case 8: isReady = try value.flag("ready")
      case 10: try appendPorts(value)
      case 12:
        guard memberships.count < 1000 else { throw WireError("more than 1,000 memberships") }
        memberships.append(try Membership(protobuf: value.data("memberships")))
      case 15: isDraining = try value.flag("draining")
      case 16:
        let weight = try value.number("weight")
        guard weight <= 1_000_000 else { throw WireError("weight: \(weight) is above 1,000,000") }
        self.weight = UInt32(weight)
      default: break
      }
    }
    guard !id.isEmpty else { throw WireError("uid is empty") }
    guard DNSName.isLabel(namespace) else { throw WireError("namespace is not a DNS label") }
    guard DNSName.isSubdomain(account) else { throw WireError("service_account is not a DNS subdomain") }
    self.id = id
    identityPath = "ns/\(namespace)/sa/\(account)"
  }

  /// Packed, as protobuf writes numbers, or one by one, as it may.
  private mutating func appendPorts(_ value: ProtobufReader.Value) throws(WireError) {
    if case .varint = value { return try appendPort(value) }
    var bytes = Array(try value.data("probe_ports"))
    guard bytes.count <= 256 else { throw WireError("probe_ports has more than 64 ports") }
    while !bytes.isEmpty {
      guard let end = bytes.firstIndex(where: { $0 < 0x80 }), end < 3 else {
        throw WireError("probe_ports holds what is not a port")
      }
      let number = bytes[...end].reversed().reduce(UInt64(0)) { $0 << 7 | UInt64($1 & 0x7f) }
      bytes.removeFirst(end + 1)
      try appendPort(.varint(number))
    }
  }

  private mutating func appendPort(_ value: ProtobufReader.Value) throws(WireError) {
    let port = try value.port("probe_ports")
    if probePorts.count < 64 { probePorts.append(port) }
  }
}

extension StubWorkload.Membership {
  fileprivate init(protobuf bytes: UnsafeRawBufferPointer) throws(WireError) {
    var reader = ProtobufReader(bytes)
    self.init(service: "", ports: [])
    while let (number, value) = try reader.next() {
      switch number {
      case 1: service = try value.text("memberships.service", upTo: 127)
      case 2:
        guard ports.count < 1000 else { throw WireError("more than 1,000 memberships.ports") }
        ports.append(try mapping(value.data("memberships.ports")))
      default: break
      }
    }
    guard ServiceKey(service) != nil else { throw WireError("memberships.service is not namespace/name") }
  }
}

private func mapping(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> Workload.PortMapping {
  var reader = ProtobufReader(bytes)
  var mapping = Workload.PortMapping(servicePort: 0, targetPort: 0)
  while let (number, value) = try reader.next() {
    switch number {
    case 1: mapping.servicePort = try value.port("memberships.ports.service_port")
    case 2: mapping.targetPort = try value.port("memberships.ports.target_port")
    default: break
    }
  }
  guard mapping.servicePort > 0, mapping.targetPort > 0 else { throw WireError("memberships.ports lacks a port") }
  return mapping
}

private func address(_ bytes: UnsafeRawBufferPointer, held: Int) throws(WireError) -> IPAddress {
  guard held < 4 else { throw WireError("more than 4 addresses") }
  guard let address = IPAddress(bytes: bytes) else {
    throw WireError("addresses: \(bytes.count) bytes; an address has 4 or 16")
  }
  return address
}

extension StubService {
  /// Reads weft.mesh.v1.Service and checks every field; at most 4 addresses and 1,000 ports.
  public init(protobuf bytes: UnsafeRawBufferPointer) throws(WireError) {
    var namespace = ""
    var name = ""
    var reader = ProtobufReader(bytes)
    self.init(key: "", addresses: [], ports: [])
    while let (number, value) = try reader.next() {
      switch number {
      case 1: namespace = try value.text("namespace", upTo: 63)
      case 2: name = try value.text("name", upTo: 63)
      case 3: addresses.append(try address(value.data("addresses"), held: addresses.count))
      case 4:
        guard ports.count < 1000 else { throw WireError("more than 1,000 ports") }
        if let port = try Self.tcpPort(value.data("ports")) { ports.append(port) }
      default: break
      }
    }
    key = "\(namespace)/\(name)"
    guard ServiceKey(key) != nil else { throw WireError("the name is not a DNS label") }
  }

  private static func tcpPort(_ bytes: UnsafeRawBufferPointer) throws(WireError) -> UInt16? {
    var reader = ProtobufReader(bytes)
    var port: UInt16?
    var isTCP = true
    while let (number, value) = try reader.next() {
      switch number {
      case 1: port = try value.port("ports.port")
      case 4: isTCP = try value.number("ports.transport") == 0
      default: break
      }
    }
    guard let port else { throw WireError("ports.port is missing") }
    return isTCP ? port : nil
  }
}

/// What holds for the whole mesh.
public struct StubMeshConfig: Equatable {
  public var trustDomain: TrustDomain
  public var isStrict: Bool

  public init(trustDomain: TrustDomain, isStrict: Bool) {
    self.trustDomain = trustDomain
    self.isStrict = isStrict
  }

  /// Reads weft.mesh.v1.MeshConfig.
  public init(protobuf bytes: UnsafeRawBufferPointer) throws(WireError) {
    var reader = ProtobufReader(bytes)
    var domain = ""
    var isStrict = false
    while let (number, value) = try reader.next() {
      switch number {
      case 1: domain = try value.text("trust_domain", upTo: 255)
      case 3: isStrict = try value.number("mutual_tls") == 1
      default: break
      }
    }
    guard let trustDomain = TrustDomain(domain) else { throw WireError("trust_domain is not a trust domain name") }
    self.init(trustDomain: trustDomain, isStrict: isStrict)
  }
}
