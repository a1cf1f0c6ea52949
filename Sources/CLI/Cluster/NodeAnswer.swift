import FoundationEssentials
import KubernetesAPI

/// What one node's agent said, or a pod's stub.
struct NodeAnswer: Sendable {
  var node: String
  /// Of a stub.
  var pod: String?
  var outcome: Result<Data, Failure>
}

/// The answers of several agents as one.
enum MergedAnswer {
  /// The member that tells an entry's agent.
  static let agent = "agent"

  /// One object: arrays one after another, each entry with its `agent`, counts summed, truths or-ed. Anything else is the
  /// first agent's.
  static func merge(_ answers: [(node: String, content: JSONNode)]) -> JSONNode {
    var merged: [JSONNode.Member] = []
    for (node, content) in answers {
      guard case .object(let members) = content else { continue }
      for member in members {
        let value = marked(member.value, node)
        guard let index = merged.firstIndex(where: { $0.key == member.key }) else {
          merged.append(.init(key: member.key, value: value))
          continue
        }
        switch (merged[index].value, value) {
        case (.array(let one), .array(let other)): merged[index].value = .array(one + other)
        case (.truth(let one), .truth(let other)): merged[index].value = .truth(one || other)
        case (.number, .number):
          guard let one = merged[index].value.integer, let other = value.integer else { continue }
          let (sum, isOver) = one.addingReportingOverflow(other)
          merged[index].value = .number(String(isOver ? .max : sum))
        default: continue
        }
      }
    }
    return .object(merged)
  }

  private static func marked(_ value: JSONNode, _ node: String) -> JSONNode {
    guard case .array(let elements) = value else { return value }
    return .array(
      elements.map { element in
        guard case .object(let members) = element else { return element }
        return .object([.init(key: agent, value: .text(node))] + members)
      })
  }

  /// The entries that belong to a namespace: by their `namespace`, or by a name or an identity of it.
  static func filter(_ content: JSONNode, namespace: String) -> JSONNode {
    guard case .object(let members) = content else { return content }
    return .object(
      members.map { member in
        guard case .array(let elements) = member.value else { return member }
        return .init(key: member.key, value: .array(elements.filter { belongs($0, namespace) }))
      })
  }

  private static func belongs(_ entry: JSONNode, _ namespace: String) -> Bool {
    if let own = entry["namespace"]?.text { return own == namespace }
    if let identity = entry["spiffe_id"]?.text { return identity.contains("/ns/\(namespace)/") }
    let names = ["service", "source", "destination", "workload"].compactMap { entry[$0]?.text }
    return names.isEmpty || names.contains { $0.hasPrefix("\(namespace)/") }
  }
}
