import MeshModel

/// Which routes at one Service stand in each other's way: the oldest wins, of equally old ones the first by name
/// (as the Gateway API has it).
struct RouteConflicts {
  private struct Claim {
    var key: ObjectKey
    var route: RouteObject
    var index: Int
    var port: UInt16?
  }

  /// The losers' parents at this Service, with what beat them.
  static func losses(at service: ObjectName, _ compiler: RouteCompiler) -> [ObjectKey: [Int: Finding]] {
    let keys = compiler.traffic.routesByParent[service] ?? []
    guard arePossible(among: keys) else { return [:] }
    var claims: [String: [Claim]] = [:]
    for key in keys {
      guard let route = compiler.traffic.routes[key], route.rejection == nil else { continue }
      for (index, parent) in route.parents.enumerated() where parent.service == service {
        guard case .success(let port) = compiler.resolve(parent) else { continue }
        claims[key.name.namespace, default: []].append(Claim(key: key, route: route, index: index, port: port))
      }
    }
    var losses: [ObjectKey: [Int: Finding]] = [:]
    // A namespace's consumer routes hold for its clients only, and leave alone what others have.
    for group in claims.values {
      var winners: [Claim] = []
      for claim in group.sorted(by: goesBefore) {
        guard let winner = winners.first(where: { conflict(claim, $0) }) else {
          winners.append(claim)
          continue
        }
        losses[claim.key, default: [:]][claim.index] = Finding(
          "Conflicted", "\(winner.key), which is older, already routes \(place(claim, winner, service))")
      }
    }
    return losses
  }

  /// Among routes of one kind only TCPRoutes are in each other's way.
  static func arePossible(among keys: Set<ObjectKey>) -> Bool {
    guard keys.count > 1, let first = keys.first else { return false }
    return first.kind == .tcpRoute || keys.contains { $0.kind != first.kind }
  }

  private static func goesBefore(_ left: Claim, _ right: Claim) -> Bool {
    (left.route.created, left.key.name, left.key.kind, left.index)
      < (right.route.created, right.key.name, right.key.kind, right.index)
  }

  private static func conflict(_ left: Claim, _ right: Claim) -> Bool {
    guard left.key != right.key, left.port == nil || right.port == nil || left.port == right.port else { return false }
    switch (left.route.kind, right.route.kind) {
    case (.tcp, _), (_, .tcp): return true
    case (.http, .grpc), (.grpc, .http): return overlap(left.route.hostnames, right.route.hostnames)
    default: return false
    }
  }

  private static func place(_ claim: Claim, _ winner: Claim, _ service: ObjectName) -> String {
    (claim.port ?? winner.port).map { "the port \($0) of the Service \(service)" } ?? "the Service \(service)"
  }

  /// Whether a host name may be of both; an empty list takes all.
  static func overlap(_ left: [String], _ right: [String]) -> Bool {
    left.isEmpty || right.isEmpty || left.contains { one in right.contains { overlap(one, $0) } }
  }

  private static func overlap(_ left: String, _ right: String) -> Bool {
    switch (left.hasPrefix("*."), right.hasPrefix("*.")) {
    case (false, false): left == right
    case (true, false): right.hasSuffix(left.dropFirst())
    case (false, true): left.hasSuffix(right.dropFirst())
    case (true, true): left.hasSuffix(right.dropFirst()) || right.hasSuffix(left.dropFirst())
    }
  }
}
