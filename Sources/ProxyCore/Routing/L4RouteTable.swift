import MeshModel

/// The TCPRoutes and TLSRoutes of one Service's port. Immutable, as `RouteTable`.
///
/// A TLS connection goes by the TLSRoute of its server name: an exact one before the longest wildcard, then one without
/// hostnames. Beside a TLSRoute no TCPRoute counts (GEP-1294: of routes at one port only those of a single type hold);
/// without one it takes every connection. Of equals the oldest, then the first by `namespace/name`. Of a route's rules
/// the first counts: there is one.
public final class L4RouteTable: Sendable {
  /// What is known of a connection.
  public enum Connection: Sendable {
    case tcp
    case tls(serverName: String?)
  }

  private let producers: L4RouteGroup?
  /// As in `RouteTable`: in place of the producers' for the clients of that namespace.
  private let consumers: [String: L4RouteGroup]

  /// Takes the routes that name the Service as a parent, with this port or none.
  public init(routes: [Route], service: ServiceKey, port: UInt16) {
    var namespaces: [String: [Route]] = [:]
    for route in routes where route.kind == .tcp || route.kind == .tls {
      guard route.isAttached(to: service, port: port) else { continue }
      namespaces[route.namespace, default: []].append(route)
    }
    var groups = namespaces.mapValues(L4RouteGroup.init)
    producers = groups.removeValue(forKey: service.namespace)
    consumers = groups
  }

  public var isEmpty: Bool { producers == nil && consumers.isEmpty }

  /// The routes that hold for a client; nil: none do, and its connections go to the Service itself.
  public func group(clientNamespace: String) -> L4RouteGroup? { consumers[clientNamespace] ?? producers }

  /// nil: no rule takes it, and it is refused where `group(clientNamespace:)` isn't nil.
  public func match(_ connection: Connection, clientNamespace: String) -> CompiledRule? {
    group(clientNamespace: clientNamespace)?.match(connection)
  }
}

/// Routes that hold together for a client.
public final class L4RouteGroup: Sendable {
  private let hosts: HostIndex
  private let exact: [CompiledRule]
  private let wildcards: [CompiledRule]
  private let anyTLS: CompiledRule?
  private let tcp: CompiledRule?

  init(_ routes: [Route]) {
    var byName: [String: CompiledRule] = [:]
    var tcp: CompiledRule?
    let inOrder = routes.sorted {
      ($0.created, "\($0.namespace)/\($0.name)") < ($1.created, "\($1.namespace)/\($1.name)")
    }
    for route in inOrder {
      guard let first = route.rules.first else { continue }
      let rule = CompiledRule(first, index: 0, of: route)
      if route.kind == .tcp {
        tcp = tcp ?? rule
        continue
      }
      for name in route.hostnames.isEmpty ? [""] : route.hostnames.map({ $0.lowercased() }) where byName[name] == nil {
        byName[name] = rule
      }
    }
    self.tcp = byName.isEmpty ? tcp : nil
    anyTLS = byName.removeValue(forKey: "")
    let hosts = HostIndex(byName.keys)
    exact = hosts.exactNames.compactMap { byName[$0] }
    wildcards = hosts.wildcardNames.compactMap { byName[$0] }
    self.hosts = hosts
  }

  public func match(_ connection: L4RouteTable.Connection) -> CompiledRule? {
    guard case .tls(let serverName) = connection else { return tcp }
    guard var name = serverName, !hosts.isEmpty else { return anyTLS ?? tcp }
    let named: CompiledRule? = name.withUTF8 { bytes in
      let bytes = UnsafeRawBufferPointer(bytes)
      // A server name has no port: a colon in it is part of no hostname.
      let end = bytes.last == UInt8(ascii: ".") ? bytes.count - 1 : bytes.count
      let places = hosts.find(UnsafeRawBufferPointer(rebasing: bytes[..<end]))
      if places.exact >= 0 { return exact[places.exact] }
      return places.wildcard >= 0 ? wildcards[places.wildcard] : nil
    }
    return named ?? anyTLS ?? tcp
  }
}
