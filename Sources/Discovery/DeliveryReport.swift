/// How far resources have come on the streams of this control plane.
public struct DeliveryReport: Hashable, Sendable {
  public struct Rejection: Hashable, Sendable {
    public var node: String
    public var reason: String

    public init(node: String, reason: String) {
      self.node = node
      self.reason = reason
    }
  }

  /// Streams that subscribe to a type.
  public var streams: [String: Int] = [:]
  /// On how many streams a resource is not sent, or not answered yet.
  public var pending: [ResourceKey: Int] = [:]
  /// Sorted by node.
  public var rejected: [ResourceKey: [Rejection]] = [:]
  /// Of a type's names and versions: the same where the same is held.
  public var digests: [String: UInt64] = [:]
  /// By type: of resources whose names sort after it, other replicas have yet to tell how they fare. Empty: of all.
  public var unsettled: [String: String] = [:]

  public init() {}
}

extension DeliveryReport {
  public func isSettled(_ key: ResourceKey) -> Bool { unsettled[key.typeURL].map { key.name <= $0 } ?? true }

  public mutating func unsettle(_ typeURL: String, after name: String = "") {
    unsettled[typeURL] = min(unsettled[typeURL] ?? name, name)
  }
}

extension CacheState {
  /// - Parameter types: the types to look at.
  func deliveries(of types: [String]) -> DeliveryReport {
    var report = DeliveryReport()
    for machine in machines {
      for url in types {
        guard let names = machine.pending(url) else { continue }
        report.streams[url, default: 0] += 1
        for name in names { report.pending[ResourceKey(typeURL: url, name: name), default: 0] += 1 }
      }
      for rejected in machine.rejected where types.contains(rejected.typeURL) {
        report.rejected[ResourceKey(typeURL: rejected.typeURL, name: rejected.name), default: []]
          .append(.init(node: machine.node, reason: rejected.reason))
      }
    }
    for url in types { report.digests[url] = Self.digest(world.resources[url, default: [:]].values) }
    for key in Array(report.rejected.keys) { report.rejected[key]?.sort { $0.node < $1.node } }
    return report
  }

  /// FNV-1a of each name and version, summed: in whatever order.
  private static func digest(_ resources: some Sequence<DiscoveryResource>) -> UInt64 {
    resources.reduce(0) { sum, resource in
      var hash: UInt64 = 0xcbf2_9ce4_8422_2325
      for byte in resource.name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
      for byte in resource.version.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
      return sum &+ hash
    }
  }
}

extension SnapshotCache {
  /// Costs a walk over the resources of these types, for their digests, and what isn't delivered yet.
  public func deliveries(of types: [String]) -> DeliveryReport { withState { $0.deliveries(of: types) } }
}
