import MeshModel

/// The HTTPRoutes and GRPCRoutes of one Service's port, as the Gateway API's v1 orders them. Immutable: made by the
/// control thread, read by all workers. Matching allocates nothing, and its time depends on the request's length, not on
/// the number of hostnames and paths; rules that differ in nothing but their conditions, and regular expressions, are
/// tried one after another.
///
/// What the specification leaves open, as decided here:
/// - Paths are compared as they were sent, neither decoded nor normalised.
/// - A regular expression of a path goes behind an exact path and before a prefix; the longer pattern first.
/// - Of GRPCRoutes the exact service and method comes first; of other matches of their type RegularExpression, or of
///   one alone, the patterns' characters are counted, as the names' are.
/// - A rule of a less specific hostname takes what no rule of a more specific one takes.
public final class RouteTable: Sendable {
  public struct Found: Sendable {
    public let rule: CompiledRule
    /// Which of the rule's matches.
    public let match: Int
    /// Bytes of the request's path that the match's prefix took, 0 for `/`; of an exact path or regular expression all
    /// of them.
    public let matchedPrefix: Int
  }

  /// Routes of the Service's own namespace: for all clients.
  private let producers: RouteGroup?
  /// By the routes' namespace: in place of the producers' for the clients of that namespace (GEP-1294, GEP-1426).
  private let consumers: [String: RouteGroup]
  /// What of the routes can never match, one sentence each: regular expressions that can't be read.
  public let problems: [String]

  /// Takes the routes that name the Service as a parent, with this port or none.
  public init(routes: [Route], service: ServiceKey, port: UInt16) {
    var namespaces: [String: [Route]] = [:]
    for route in routes where route.kind == .http || route.kind == .grpc {
      guard route.isAttached(to: service, port: port) else { continue }
      namespaces[route.namespace, default: []].append(route)
    }
    var problems: [String] = []
    var groups: [String: RouteGroup] = [:]
    for (namespace, routes) in namespaces { groups[namespace] = RouteGroup(routes, problems: &problems) }
    producers = groups.removeValue(forKey: service.namespace)
    consumers = groups
    self.problems = problems.sorted()
  }

  public var isEmpty: Bool { producers == nil && consumers.isEmpty }

  /// The routes that hold for a client; nil: none do, and its requests go to the Service itself. For a connection to
  /// ask once.
  public func group(clientNamespace: String) -> RouteGroup? {
    consumers.isEmpty ? producers : consumers[clientNamespace] ?? producers
  }

  /// nil: no rule takes it, which is a 404 where `group(clientNamespace:)` isn't nil.
  public func match(_ head: HTTPHead, clientNamespace: String) -> Found? {
    group(clientNamespace: clientNamespace)?.match(head)
  }
}

extension Route {
  func isAttached(to service: ServiceKey, port: UInt16) -> Bool {
    parents.contains { $0.service == service && ($0.port == nil || $0.port == port) }
  }
}
