import MeshModel

/// Routes that hold together for a client, by their hostnames.
public final class RouteGroup: Sendable {
  private let hosts: HostIndex
  private let exact: [RouteTablePaths]
  private let wildcards: [RouteTablePaths]
  /// Of routes without a hostname.
  private let any: RouteTablePaths?

  init(_ routes: [Route], problems: inout [String]) {
    var byName: [String: [RouteMatchEntry]] = [:]
    for route in routes {
      let entries = RouteMatchEntry.all(of: route, problems: &problems)
      for name in Set(route.hostnames.isEmpty ? [""] : route.hostnames.map { $0.lowercased() }) {
        byName[name, default: []] += entries
      }
    }
    any = byName.removeValue(forKey: "").map(RouteTablePaths.init)
    hosts = HostIndex(byName.keys)
    exact = hosts.exactNames.map { RouteTablePaths(byName[$0] ?? []) }
    wildcards = hosts.wildcardNames.map { RouteTablePaths(byName[$0] ?? []) }
  }

  public func match(_ head: HTTPHead) -> RouteTable.Found? {
    head.bytes.withUnsafeBytes { bytes in
      guard !hosts.isEmpty else { return any?.match(head, bytes) }
      let name = HostName.range(in: bytes, head.authority.range)
      var places = hosts.find(UnsafeRawBufferPointer(rebasing: bytes[name]))
      if places.exact >= 0, let found = exact[places.exact].match(head, bytes) { return found }
      while places.wildcard >= 0 {
        if let found = wildcards[places.wildcard].match(head, bytes) { return found }
        places.wildcard = hosts.shorter(than: places.wildcard)
      }
      return any?.match(head, bytes)
    }
  }
}
