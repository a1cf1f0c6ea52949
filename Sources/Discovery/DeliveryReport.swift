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

  public init() {}
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
    for key in Array(report.rejected.keys) { report.rejected[key]?.sort { $0.node < $1.node } }
    return report
  }
}

extension SnapshotCache {
  /// Costs what isn't delivered yet, not what is.
  public func deliveries(of types: [String]) -> DeliveryReport { withState { $0.deliveries(of: types) } }
}
