import MeshModel

/// An address prefix, as `10.0.0.0/8`, `fd00::/8`, or an address alone.
public struct AddressPrefix: Hashable, Sendable, LosslessStringConvertible {
  public let address: IPAddress
  /// Bits: 0...32 or 0...128.
  public let length: Int

  /// nil if the length is out of bounds.
  public init?(_ address: IPAddress, length: Int) {
    guard (0...(address.family == .v4 ? 32 : 128)).contains(length) else { return nil }
    self.address = address
    self.length = length
  }

  public init(_ address: IPAddress) {
    self.address = address
    self.length = address.family == .v4 ? 32 : 128
  }

  public init?(_ text: String) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let address = IPAddress(String(parts[0])) else { return nil }
    guard parts.count == 2 else {
      self.init(address)
      return
    }
    guard let length = Int(parts[1]), parts[1].allSatisfy(\.isNumber) else { return nil }
    self.init(address, length: length)
  }

  public var description: String { "\(address)/\(length)" }
}

/// What one agent's capture needs to know.
public struct CaptureConfiguration: Sendable {
  /// The eBPF object, `weft.bpf.o`.
  public var objectPath: String
  /// A folder of this agent alone on a BPF file system; made if absent.
  public var bpffsDirectory: String
  /// The cgroup v2 folder under which the pods, the agent and the proxy live.
  public var cgroupRoot: String
  /// The cgroup of the process that opens the sockets in pods; in or under `cgroupRoot`.
  public var agentCgroup: String
  /// Cgroups whose tasks aren't captured: the agent's and the proxy's. At most 64.
  public var bypassCgroups: [String]
  /// Where kubelet probes come from. At most 256.
  public var nodeAddresses: [IPAddress]
  /// Destinations that are never captured. At most 1,024.
  public var excluded: [AddressPrefix]

  public init(
    objectPath: String, bpffsDirectory: String, cgroupRoot: String, agentCgroup: String, bypassCgroups: [String] = [],
    nodeAddresses: [IPAddress] = [], excluded: [AddressPrefix] = []
  ) {
    self.objectPath = objectPath
    self.bpffsDirectory = Self.withoutSlash(bpffsDirectory)
    self.cgroupRoot = Self.withoutSlash(cgroupRoot)
    self.agentCgroup = Self.withoutSlash(agentCgroup)
    self.bypassCgroups = bypassCgroups
    self.nodeAddresses = nodeAddresses
    self.excluded = excluded
  }

  private static func withoutSlash(_ path: String) -> String {
    path.count > 1 && path.hasSuffix("/") ? withoutSlash(String(path.dropLast())) : path
  }
}

/// What happens to a pod's connections when nothing is there to carry them.
public enum FailMode: String, Sendable, Codable {
  /// No proxy, no connection.
  case closed
  /// While the agent's heartbeat is older than 5 s, connections pass as if there were no mesh.
  case open
}

/// A pod whose sockets are to be captured.
public struct PodEnrolment: Sendable {
  /// `namespace/name`; at most 319 bytes.
  public var uid: String
  public var namespace: NetworkNamespace
  /// 1...8 addresses; the first of each family is the one that getsockname shows.
  public var addresses: [IPAddress]
  /// The listening socket that gets inbound connections. The kernel forgets it when its last descriptor closes.
  public var inboundListener: CInt
  public var failMode: FailMode
  /// Ports that the node's own addresses reach in plaintext. At most 64.
  public var probePorts: [UInt16]

  public init(
    uid: String, namespace: NetworkNamespace, addresses: [IPAddress], inboundListener: CInt,
    failMode: FailMode = .closed, probePorts: [UInt16] = []
  ) {
    self.uid = uid
    self.namespace = namespace
    self.addresses = addresses
    self.inboundListener = inboundListener
    self.failMode = failMode
    self.probePorts = probePorts
  }
}

/// A pod as the pinned maps know it.
public struct KnownPod: Hashable, Sendable {
  public let uid: String
  /// The network namespace's cookie.
  public let cookie: UInt64
  public let addresses: [IPAddress]
  public let failMode: FailMode
  public let probePorts: [UInt16]
  /// Known to be meshed, not enrolled yet.
  public let held: Bool
}

/// What the programs counted for one pod since it was enrolled.
public struct PodStatistics: Hashable, Sendable, Codable {
  public var captured: UInt64
  public var dnsQueries: UInt64
  public var refused: UInt64
  public var passedOpen: UInt64
  /// TCP flows that left the pod's loopback and are over; the rest is about these.
  public var flowsClosed: UInt64
  public var bytesAcknowledged: UInt64
  public var bytesReceived: UInt64
  /// Segments.
  public var retransmits: UInt64
  /// Microseconds; 0 before the first flow's end.
  public var meanRoundTripTime: UInt64

  enum CodingKeys: String, CodingKey {
    case captured
    case dnsQueries = "dns_queries"
    case refused
    case passedOpen = "passed_open"
    case flowsClosed = "flows_closed"
    case bytesAcknowledged = "bytes_acknowledged"
    case bytesReceived = "bytes_received"
    case retransmits
    case meanRoundTripTime = "mean_round_trip_time_us"
  }
}
