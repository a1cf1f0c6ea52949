import MeshModel

/// Nodes that uninstall leaves as they are.
enum SkippedNodes: Hashable, Sendable, CustomStringConvertible {
  case all
  case named(Set<String>)

  /// - Parameter text: names joined by commas, or `all`; nil: none.
  init?(_ text: String?) {
    switch text {
    case nil: self = .named([])
    case "all": self = .all
    case .some(let text):
      let names = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
      guard names.allSatisfy({ DNSName.isSubdomain($0) }) else { return nil }
      self = .named(Set(names))
    }
  }

  var isEmpty: Bool { self == .named([]) }

  func contains(_ node: String) -> Bool {
    switch self {
    case .all: true
    case .named(let names): names.contains(node)
    }
  }

  var description: String {
    switch self {
    case .all: "all nodes"
    case .named(let names): AgentNodes.list(names)
    }
  }
}
