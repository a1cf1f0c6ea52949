import MeshModel

/// How near an endpoint is to this node.
public enum LocalityRank: UInt8, Sendable, Hashable, CaseIterable {
  case node, zone, region, other
}

/// An endpoint of a Service's port as a balancer sees it.
public struct BalancedEndpoint: Sendable, Hashable {
  /// The workload's.
  public var id: String
  public var address: SocketAddress
  /// 0: gets nothing. More than 1,000,000 counts as that.
  public var weight: UInt32
  public var isReady: Bool
  /// Keeps what it has and gets nothing new.
  public var isDraining: Bool
  public var rank: LocalityRank

  public init(
    id: String, address: SocketAddress, weight: UInt32 = 1, isReady: Bool = true, isDraining: Bool = false,
    rank: LocalityRank = .other
  ) {
    self.id = id
    self.address = address
    self.weight = min(weight, 1_000_000)
    self.isReady = isReady
    self.isDraining = isDraining
    self.rank = rank
  }
}

/// An endpoint's address as sessions know it: the same on every node.
public struct EndpointToken: Sendable, Hashable {
  public let value: UInt64

  public init(value: UInt64) { self.value = value }
  public init(_ address: SocketAddress) { value = StableHash.hash(address) }
}

/// A try that an endpoint has been given, from `EndpointSet.started` to `finished`, which each try meets once. It stays
/// valid over updates, also where its endpoint goes.
public struct EndpointAttempt: Sendable, Hashable {
  let slot: Int32
  let generation: UInt32
}

/// What a try says about its endpoint.
public enum AttemptOutcome: Sendable, Hashable {
  case success
  /// A 5xx, a connect failure, a reset, a timeout.
  case failure
  /// Given up by this side: the client left, or another try was faster.
  case abandoned
}

/// For `weft endpoints`.
public struct EndpointStatus: Sendable, Hashable {
  /// Whether new requests may go there now.
  public var isUsable: Bool
  /// Monotonic; nil: not ejected.
  public var ejectedUntil: NanoTime?
  /// By all who judge on the same board: one more by each, one fewer by each interval without.
  public var ejections: UInt32
  public var outstanding: Int
  /// Nanoseconds; nil before the first answer.
  public var latency: NanoTime?

  public init(isUsable: Bool, ejectedUntil: NanoTime?, ejections: UInt32, outstanding: Int, latency: NanoTime?) {
    self.isUsable = isUsable
    self.ejectedUntil = ejectedUntil
    self.ejections = ejections
    self.outstanding = outstanding
    self.latency = latency
  }
}
