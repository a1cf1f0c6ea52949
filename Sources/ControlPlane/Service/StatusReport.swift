import Discovery
import Foundation

/// The content of `<state-dir>/status.json`.
public struct StatusReport: Hashable, Sendable, Codable {
  /// Every refused object, every one of which something has no effect, and the others where there are no more than
  /// `maximumAccepted`.
  public var objects: [ObjectStatus]
  public var nodes: [Node]
  public var generation: UInt64
  public var totals: Totals

  /// Accepted objects with nothing to say about them that are listed one by one.
  public static let maximumAccepted = 10_000

  public struct Totals: Hashable, Sendable, Codable {
    public var accepted = 0
    public var refused = 0
  }

  public struct Node: Hashable, Sendable, Codable {
    public var node: String
    public var connected: Bool
    /// When it connected or disconnected; RFC 3339, UTC.
    public var since: String
    public var nacked: [Rejection]
  }

  public struct Rejection: Hashable, Sendable, Codable {
    /// The type URL.
    public var type: String
    /// Empty where a whole response was refused.
    public var name: String
    public var reason: String
  }

  /// - Parameter total: objects that there are; nil: those that are given.
  init(objects: [ObjectStatus], total: Int? = nil, nodes: [NodeStatus], generation: UInt64) {
    var totals = Totals()
    self.objects = objects.filter { object in
      if object.accepted { totals.accepted += 1 } else { totals.refused += 1 }
      return !object.accepted || !object.reason.isEmpty || totals.accepted <= Self.maximumAccepted
    }
    totals.accepted += (total ?? objects.count) - objects.count
    self.totals = totals
    self.generation = generation
    self.nodes = nodes.map { status in
      Node(
        node: status.node, connected: status.connected, since: Timestamp.text(status.since),
        nacked: status.nacked.map { Rejection(type: $0.typeURL, name: $0.name, reason: $0.reason) })
    }
  }

  func json() throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
    return Array(try encoder.encode(self)) + [UInt8(ascii: "\n")]
  }
}

/// RFC 3339 in UTC with milliseconds.
enum Timestamp {
  static func text(_ date: Date) -> String {
    date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
  }
}
