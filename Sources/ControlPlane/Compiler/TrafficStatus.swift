import MeshModel

/// A condition as the Gateway API has it.
public struct ObjectCondition: Hashable, Sendable, Codable {
  /// Accepted, ResolvedRefs or Programmed.
  public var type: String
  /// True, False or Unknown.
  public var status: String
  public var reason: String
  public var message: String

  init(_ type: String, _ status: String, _ reason: String, _ message: String) {
    self.type = type
    self.status = status
    self.reason = reason
    self.message = message
  }

  /// - Parameter note: what has no effect although the condition holds; empty if nothing.
  init(_ type: String, _ finding: Finding?, otherwise reason: String, note: String = "") {
    self.type = type
    status = finding == nil ? "True" : "False"
    self.reason = finding?.reason ?? reason
    message = finding?.message ?? note
  }
}

/// How an object fares with one of what it refers to as its parents: of a route its parentRefs, of a policy its
/// targetRefs.
public struct ParentStatus: Hashable, Sendable, Codable {
  public var group: String
  public var kind: String
  public var namespace: String
  public var name: String
  public var sectionName: String?
  public var port: UInt16?
  public var conditions: [ObjectCondition]

  init(
    group: String = "", kind: String = "Service", namespace: String, name: String, sectionName: String = "",
    port: UInt16? = nil, conditions: [ObjectCondition]
  ) {
    self.group = group
    self.kind = kind
    self.namespace = namespace
    self.name = name
    self.sectionName = sectionName.isEmpty ? nil : sectionName
    self.port = port
    self.conditions = conditions
  }

  /// What doesn't hold or has no effect, in sentences for a person.
  var problems: [String] {
    conditions.compactMap { condition in
      let isTrue = condition.status == "True"
      guard !isTrue || !condition.message.isEmpty else { return nil }
      let verdict = isTrue ? condition.type : "not \(condition.type): \(condition.reason)"
      return "\(kind) \(namespace)/\(name): \(verdict): \(condition.message)"
    }
  }
}
