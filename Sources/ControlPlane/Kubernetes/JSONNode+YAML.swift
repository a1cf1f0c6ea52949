import KubernetesAPI

extension YAMLNode {
  /// An API server's object for the decoder of files, without the members that say its kind: the list or watch that it
  /// came by has said that.
  init(object: JSONNode) {
    self.init(any: object)
    if case .mapping(let pairs) = content {
      content = .mapping(pairs.filter { $0.key != "kind" && $0.key != "apiVersion" })
    }
  }

  private init(any node: JSONNode) {
    let content: Content
    switch node {
    case .null: content = .scalar("null", isPlain: true)
    case .truth(let value): content = .scalar(value ? "true" : "false", isPlain: true)
    case .number(let text): content = .scalar(text, isPlain: true)
    case .text(let text): content = .scalar(text, isPlain: false)
    case .array(let elements): content = .sequence(elements.map { YAMLNode(any: $0) })
    case .object(let members):
      content = .mapping(members.map { YAMLPair(key: $0.key, line: 1, column: 1, value: YAMLNode(any: $0.value)) })
    }
    self.init(content: content, line: 1, column: 1)
  }
}
