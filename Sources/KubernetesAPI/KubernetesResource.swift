/// A kind of objects as the API names it in paths.
public struct KubernetesResource: Hashable, Sendable, CustomStringConvertible {
  /// Empty: the core group.
  public var group: String
  public var version: String
  /// Lower case: `pods`.
  public var plural: String

  public init(group: String = "", version: String, plural: String) {
    self.group = group
    self.version = version
    self.plural = plural
  }

  public var description: String { group.isEmpty ? plural : "\(plural).\(group)" }

  /// - Parameters:
  ///   - namespace: empty: of all namespaces, or cluster-scoped.
  ///   - name: empty: the list.
  ///   - subresource: of the object: `status`.
  public func path(namespace: String = "", name: String = "", subresource: String = "") -> String {
    var path = group.isEmpty ? "/api/\(version)" : "/apis/\(group)/\(version)"
    if !namespace.isEmpty { path += "/namespaces/\(namespace)" }
    path += "/\(plural)"
    if !name.isEmpty { path += "/\(name)" }
    return subresource.isEmpty ? path : "\(path)/\(subresource)"
  }
}
