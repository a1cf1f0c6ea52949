import Discovery
import KubernetesAPI

/// Conditions as `metav1.Condition`s. Pure.
struct StatusConditions {
  static let maximumMessage = 1024
  /// Of the nodes that refuse a resource, so many are named.
  private static let maximumNodes = 3

  var generation: Int
  /// RFC 3339, in seconds.
  var time: String

  /// What is to stand there: a condition that is true as before keeps the time since when it is.
  /// - Parameter old: what stands there now.
  func merged(_ conditions: [ObjectCondition], _ old: [JSONNode]) -> [JSONNode] {
    conditions.map { condition in
      let before = old.first { $0["type"]?.text == condition.type }
      // An API server of 1.20 that a newer Go has built takes an empty text for null.
      let message = condition.message.isEmpty ? "\(condition.type) is \(condition.status)" : condition.message
      let since = before?["status"]?.text == condition.status ? before?["lastTransitionTime"]?.text : nil
      return [
        "type": .text(condition.type), "status": .text(condition.status), "reason": .text(condition.reason),
        "message": .text(String(message.prefix(Self.maximumMessage))),
        "observedGeneration": .number(String(generation)), "lastTransitionTime": .text(since ?? time),
      ]
    }
  }

  /// Whether all that a person reads is the same.
  static func areSame(_ left: [JSONNode], _ right: [JSONNode]) -> Bool {
    left.count == right.count
      && zip(left.sorted { key($0) < key($1) }, right.sorted { key($0) < key($1) }).allSatisfy { left, right in
        ["type", "status", "reason", "message"].allSatisfy { left[$0]?.text ?? "" == right[$0]?.text ?? "" }
          && left["observedGeneration"]?.integer == right["observedGeneration"]?.integer
      }
  }

  private static func key(_ condition: JSONNode) -> String { condition["type"]?.text ?? "" }

  /// Whether the nodes have it, as far as this replica and the others tell. What isn't known stays as it was said.
  /// - Parameter old: the conditions that stand there now.
  func programmed(
    _ input: StatusInput, isAccepted: Bool, _ deliveries: DeliveryReport, old: [JSONNode]
  ) -> ObjectCondition {
    guard isAccepted, let key = input.key.resourceKey else {
      return ObjectCondition("Programmed", "False", "NotAccepted", "")
    }
    if let rejections = deliveries.rejected[key], !rejections.isEmpty {
      var text = rejections.prefix(Self.maximumNodes).map { "node \($0.node): \($0.reason)" }.joined(separator: "; ")
      if rejections.count > Self.maximumNodes { text += "; and \(rejections.count - Self.maximumNodes) more nodes" }
      return ObjectCondition("Programmed", "False", "RefusedByNode", text)
    }
    if let nodes = deliveries.pending[key] {
      return ObjectCondition("Programmed", "False", "Pending", "\(nodes) nodes have yet to confirm it")
    }
    let isSettled = deliveries.isSettled(key)
    if isSettled, deliveries.streams[key.typeURL, default: 0] > 0 {
      return ObjectCondition("Programmed", "True", "Programmed", "")
    }
    if let before = old.first(where: { $0["type"]?.text == "Programmed" }),
      before["observedGeneration"]?.integer == generation, let status = before["status"]?.text
    {
      return ObjectCondition(
        "Programmed", status, before["reason"]?.text ?? "Unknown", before["message"]?.text ?? "")
    }
    return isSettled
      ? ObjectCondition("Programmed", "Unknown", "NoAgent", "no node is connected")
      : ObjectCondition("Programmed", "False", "Pending", "another replica's nodes have yet to confirm it")
  }
}
