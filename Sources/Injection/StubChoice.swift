import KubernetesAPI

/// Labels and annotations of one object.
public struct ObjectMarks: Hashable, Sendable {
  public var labels: [String: String]
  public var annotations: [String: String]

  public init(labels: [String: String] = [:], annotations: [String: String] = [:]) {
    self.labels = labels
    self.annotations = annotations
  }

  /// Of an object's `metadata`; values that are no texts are left out.
  public init(metadata: JSONNode?) {
    self.init(labels: Self.texts(metadata?["labels"]), annotations: Self.texts(metadata?["annotations"]))
  }

  private static func texts(_ node: JSONNode?) -> [String: String] {
    guard case .object(let members)? = node else { return [:] }
    return Dictionary(
      members.compactMap { member in member.value.text.map { (member.key, $0) } },
      uniquingKeysWith: { first, _ in first })
  }
}

/// Whether a pod gets a stub, and which one: what the pod says goes before what its ServiceAccount says, and that before
/// what its namespace says.
public enum StubChoice: Hashable, Sendable {
  case stub(StubKind)
  /// Its node's proxy carries it, or nobody.
  case none(warning: String?)

  /// - Throws: where the pod itself says what means nothing. Others' mistakes don't stop the pods of a namespace: they count
  ///   as unsaid.
  public init(pod: ObjectMarks, account: ObjectMarks, namespace: ObjectMarks) throws(InjectionRefusal) {
    guard try Self.mode(pod, account, namespace) == "stub" else {
      self = .none(warning: nil)
      return
    }
    guard (pod.labels[InjectionNames.mesh] ?? namespace.labels[InjectionNames.mesh]) == "enabled" else {
      self = .none(
        warning:
          "\(InjectionNames.mode): stub has no effect on this pod, because it isn't in the mesh: label it or its "
          + "namespace \(InjectionNames.mesh): enabled")
      return
    }
    self = .stub(try Self.kind(pod) ?? Self.lenientKind(account) ?? Self.lenientKind(namespace) ?? .tunnel)
  }

  private static func mode(
    _ pod: ObjectMarks, _ account: ObjectMarks, _ namespace: ObjectMarks
  ) throws(InjectionRefusal) -> String? {
    let known: Set<String> = ["stub", "node"]
    if let own = pod.labels[InjectionNames.mode] {
      guard known.contains(own) else {
        throw InjectionRefusal(
          "the pod's label \(InjectionNames.mode) is \"\(own.prefix(63))\": it may be stub or node")
      }
      return own
    }
    return [account, namespace].lazy.compactMap { $0.labels[InjectionNames.mode] }.first { known.contains($0) }
  }

  /// What a pod's annotation asks for; nil: it doesn't say.
  static func kind(_ pod: ObjectMarks) throws(InjectionRefusal) -> StubKind? {
    guard let text = pod.annotations[InjectionNames.kind] else { return nil }
    guard let kind = StubKind(rawValue: text) else {
      throw InjectionRefusal(
        "the pod's annotation \(InjectionNames.kind) is \"\(text.prefix(63))\": it may be handoff or tunnel")
    }
    return kind
  }

  private static func lenientKind(_ marks: ObjectMarks) -> StubKind? {
    marks.annotations[InjectionNames.kind].flatMap(StubKind.init)
  }
}
