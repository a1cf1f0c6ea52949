import Crypto
import Foundation
import KubernetesAPI

/// What a person must know of an object (core/v1 Event). Pure.
struct EventText: Hashable, Sendable {
  static let resource = KubernetesResource(version: "v1", plural: "events")
  /// The API's bound.
  private static let maximumMessage = 1024

  /// Of the object: where it is, and its kind.
  var resourceOfObject: KubernetesResource
  /// Where the server doesn't know that version.
  var olderResources: [KubernetesResource] = []
  var kind: String
  /// Empty: cluster-scoped; its events are in `default`.
  var namespace: String
  var name: String
  /// Upper camel case.
  var reason: String
  var message: String

  var eventNamespace: String { namespace.isEmpty ? "default" : namespace }

  /// The same on every replica and after a restart, so that nothing is said twice.
  var eventName: String {
    let text = [kind, namespace, name, reason, message].joined(separator: "\u{0}")
    let digest = SHA256.hash(data: Array(text.utf8)).prefix(8)
    let hash = digest.map { String(UInt16($0) | 0x100, radix: 16).dropFirst() }.joined()
    return "\(name.prefix(200)).weft-\(hash)"
  }

  /// - Parameters:
  ///   - object: as the API server has it.
  ///   - time: RFC 3339, in seconds.
  func event(of object: JSONNode, replica: String, time: String) -> JSONNode {
    let version = resourceOfObject
    return [
      "apiVersion": "v1", "kind": "Event",
      "metadata": ["name": .text(eventName), "namespace": .text(eventNamespace)],
      "involvedObject": [
        "apiVersion": .text(version.group.isEmpty ? version.version : "\(version.group)/\(version.version)"),
        "kind": .text(kind), "namespace": .text(namespace), "name": .text(name),
        "uid": object["metadata"]?["uid"] ?? "",
        "resourceVersion": object["metadata"]?["resourceVersion"] ?? "",
      ],
      "type": "Warning", "reason": .text(reason), "message": .text(String(message.prefix(Self.maximumMessage))),
      "source": ["component": .text(ClusterNames.manager)], "reportingComponent": .text(ClusterNames.manager),
      "reportingInstance": .text(String(replica.prefix(128))), "firstTimestamp": .text(time),
      "lastTimestamp": .text(time), "count": 1,
    ]
  }
}

/// Which events are worth a request. Pure; `now` is seconds of a clock that doesn't go back.
struct EventLimits: Sendable {
  enum Verdict: Hashable, Sendable {
    case send
    /// It stands there.
    case known
    /// Too many at once.
    case refused
  }

  /// Seconds within which the same isn't said again.
  static let quiet = 600.0
  static let maximumKnown = 4096
  /// Events at once, and a second.
  static let burst = 25.0
  static let rate = 1.0

  private var said: [String: Double] = [:]
  private var credit = burst
  private var filled = 0.0

  /// It couldn't be said after all.
  mutating func forget(_ event: EventText) { said[Self.key(event)] = nil }

  private static func key(_ event: EventText) -> String { "\(event.eventNamespace)/\(event.eventName)" }

  mutating func admit(_ event: EventText, now: Double) -> Verdict {
    let key = Self.key(event)
    if let last = said[key], now < last + Self.quiet { return .known }
    credit = min(Self.burst, credit + max(0, now - filled) * Self.rate)
    filled = now
    guard credit >= 1 else { return .refused }
    credit -= 1
    if said.count >= Self.maximumKnown { said = said.filter { now < $0.value + Self.quiet } }
    if said.count >= Self.maximumKnown { said = [:] }
    said[key] = now
    return .send
  }
}
