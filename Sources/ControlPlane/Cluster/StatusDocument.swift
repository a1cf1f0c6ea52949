import Discovery
import KubernetesAPI

/// The status that an object is to have. A pure function of how it fares and of what stands there now.
struct StatusDocument {
  let input: StatusInput
  let deliveries: DeliveryReport
  private let conditions: StatusConditions

  /// - Parameter time: RFC 3339, in seconds.
  init(_ input: StatusInput, _ deliveries: DeliveryReport, time: String) {
    self.input = input
    self.deliveries = deliveries
    conditions = StatusConditions(generation: input.subject.generation, time: time)
  }

  /// The members of `status` to write; nil: what stands there says it all.
  var change: JSONNode? { input.key.kind.route == nil ? conditionsChange : parentsChange }

  // MARK: Routes

  /// The CRD's bound, of all controllers' entries.
  static let maximumParents = 32

  /// Entries of other controllers stay as they are and where they are.
  private var parentsChange: JSONNode? {
    let present = input.subject.status["parents"]?.elements ?? []
    let own = present.filter { $0["controllerName"]?.text == ClusterNames.controller }
    let others = present.filter { $0["controllerName"]?.text != ClusterNames.controller }
    let entries = input.subject.parentRefs.compactMap { entry(for: $0, among: own) }
    let wanted = Array(entries.prefix(max(0, Self.maximumParents - others.count)))
    if own.count == wanted.count,
      zip(own, wanted).allSatisfy({ old, new in
        reference(old["parentRef"]) == reference(new["parentRef"])
          && StatusConditions.areSame(old["conditions"]?.elements ?? [], new["conditions"]?.elements ?? [])
      })
    {
      return nil
    }
    return ["parents": .array(others + wanted)]
  }

  /// nil: the parent is another controller's.
  private func entry(for parentRef: JSONNode, among own: [JSONNode]) -> JSONNode? {
    guard let wanted = reference(parentRef), wanted.isService else { return nil }
    let old = own.first { reference($0["parentRef"]) == wanted }?["conditions"]?.elements ?? []
    var said: [ObjectCondition]
    if input.refusal.isEmpty {
      guard let parent = input.parents.first(where: { wanted.isFor($0) }) else { return nil }
      said = parent.conditions
    } else {
      said = [ObjectCondition("Accepted", "False", "UnsupportedValue", input.refusal)]
    }
    let isAccepted = tellOmission(in: &said)
    said.append(conditions.programmed(input, isAccepted: isAccepted, deliveries, old: old))
    return [
      "parentRef": parentRef, "controllerName": .text(ClusterNames.controller),
      "conditions": .array(conditions.merged(said, old)),
    ]
  }

  /// - Returns: whether it is accepted, so that there was something to say.
  private func tellOmission(in said: inout [ObjectCondition]) -> Bool {
    guard let index = said.firstIndex(where: { $0.type == "Accepted" }), said[index].status == "True" else {
      return false
    }
    if !input.omission.isEmpty {
      said[index].message = [said[index].message, input.omission].filter { !$0.isEmpty }.joined(separator: "; ")
    }
    return true
  }

  private func reference(_ node: JSONNode?) -> Reference? {
    node.map { Reference($0, namespace: input.key.name.namespace) }
  }

  /// A parentRef with its defaults.
  private struct Reference: Hashable {
    var group: String
    var kind: String
    var namespace: String
    var name: String
    var sectionName: String
    var port: Int?

    init(_ node: JSONNode, namespace: String) {
      group = node["group"]?.text ?? GatewayAPI.group
      kind = node["kind"]?.text ?? "Gateway"
      self.namespace = node["namespace"]?.text ?? namespace
      name = node["name"]?.text ?? ""
      sectionName = node["sectionName"]?.text ?? ""
      port = node["port"]?.integer
    }

    var isService: Bool { GatewayAPI.isService(group: group, kind: kind) }

    func isFor(_ parent: ParentStatus) -> Bool {
      namespace == parent.namespace && name == parent.name && sectionName == parent.sectionName ?? ""
        && port == parent.port.map(Int.init)
    }
  }

  // MARK: Weft's own kinds

  private static let types: Set<String> = ["Accepted", "ResolvedRefs", "Programmed"]

  private var conditionsChange: JSONNode? {
    let present = input.subject.status["conditions"]?.elements ?? []
    let own = present.filter { Self.types.contains($0["type"]?.text ?? "") }
    var said = verdicts
    let isAccepted = tellOmission(in: &said)
    said.append(conditions.programmed(input, isAccepted: isAccepted, deliveries, old: own))
    let wanted = conditions.merged(said, own)
    guard !StatusConditions.areSame(own, wanted) else { return nil }
    return ["conditions": .array(present.filter { !own.contains($0) } + wanted)]
  }

  /// Of a policy with several targets: what one of them lacks, all of it lacks, and the message says which.
  private var verdicts: [ObjectCondition] {
    guard input.refusal.isEmpty else { return [ObjectCondition("Accepted", "False", "Invalid", input.refusal)] }
    let failures = input.parents.flatMap { parent in
      parent.conditions.filter { $0.type == "Accepted" && $0.status != "True" }
    }
    let missing = failures.filter { $0.reason == "TargetNotFound" }
    let refused = failures.filter { $0.reason != "TargetNotFound" }
    // With one target that it holds for it is in force, for that one.
    let holds = refused.isEmpty && (missing.isEmpty || missing.count < input.parents.count)
    let text = { (conditions: [ObjectCondition]) in conditions.map(\.message).joined(separator: "; ") }
    var conditions: [ObjectCondition] = [
      holds
        ? ObjectCondition("Accepted", "True", "Accepted", "")
        : ObjectCondition("Accepted", "False", failures[0].reason, text(refused.isEmpty ? missing : refused))
    ]
    if input.key.kind == .trafficPolicy {
      conditions.append(
        missing.isEmpty
          ? ObjectCondition("ResolvedRefs", "True", "ResolvedRefs", "")
          : ObjectCondition("ResolvedRefs", "False", "TargetNotFound", text(missing)))
    }
    return conditions
  }
}

extension StatusDocument {
  /// Whether the nodes' word on it is awaited.
  static func isPending(_ change: JSONNode) -> Bool {
    let entries = change["parents"]?.elements ?? [change]
    return entries.contains { entry in
      guard (entry["controllerName"]?.text ?? ClusterNames.controller) == ClusterNames.controller else { return false }
      return entry["conditions"]?.elements.contains { $0["reason"]?.text == "Pending" } == true
    }
  }
}
