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

/// An endpoint's name in a cookie or header of session persistence: opaque to clients and the same on every node. It is
/// no secret: who guesses one reaches an endpoint that the Service would have given anyway.
public struct EndpointToken: Sendable, Hashable {
  public let value: UInt64

  public init(_ address: SocketAddress) { value = StableHash.hash(address) }

  /// 16 hexadecimal digits in lower case, as written; nil for anything else.
  public init?(_ text: some Collection<UInt8>) {
    guard text.count == 16 else { return nil }
    var value: UInt64 = 0
    for byte in text {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt64(byte - UInt8(ascii: "0"))
      case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt64(byte - UInt8(ascii: "a") + 10)
      default: return nil
      }
    }
    self.value = value
  }

  public func write(to bytes: inout [UInt8]) {
    for shift in stride(from: 60, through: 0, by: -4) {
      let digit = UInt8(truncatingIfNeeded: value >> UInt64(shift)) & 15
      bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
    }
  }
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
