import MeshModel

/// Which routes at one Service stand in each other's way: those that could take the same connection. The oldest wins,
/// of equally old ones the first by name (as the Gateway API has it); a TCPRoute, which takes everything, goes behind
/// every other kind (GEP-1294).
struct RouteConflicts {
  /// What others leave of a route at one of its parents.
  enum Verdict {
    case lost(Finding)
    /// It is accepted; the text says what is another's.
    case partly(String)
  }

  /// By the route and the index of its parent.
  typealias Verdicts = [ObjectKey: [Int: Verdict]]

  private struct Claim {
    var key: ObjectKey
    var route: RouteObject
    var index: Int
    var port: UInt16?

    /// Empty text: any.
    var hostnames: [String] { route.hostnames.isEmpty ? [""] : route.hostnames }

    func sharesPort(with other: Claim) -> Bool { port == nil || other.port == nil || port == other.port }
  }

  /// Of those of whom something, or all, is another's.
  static func verdicts(at service: ObjectName, _ compiler: RouteCompiler) -> Verdicts {
    let keys = compiler.traffic.routesByParent[service] ?? []
    guard arePossible(among: keys) else { return [:] }
    var claims: [String: [Claim]] = [:]
    for key in keys {
      guard let route = compiler.traffic.routes[key] else { continue }
      for (index, parent) in route.parents.enumerated() where parent.service == service {
        guard compiler.rejection(of: route, at: parent) == nil, case .success(let port) = compiler.resolve(parent)
        else { continue }
        claims[key.name.namespace, default: []].append(Claim(key: key, route: route, index: index, port: port))
      }
    }
    var verdicts: Verdicts = [:]
    // A namespace's consumer routes hold for its clients only, and leave alone what others have.
    for group in claims.values {
      var winners: [Claim] = []
      for claim in group.sorted(by: goesBefore) {
        let verdict = verdict(on: claim, winners, service)
        verdicts[claim.key, default: [:]][claim.index] = verdict
        if case .lost? = verdict { continue }
        winners.append(claim)
      }
    }
    return verdicts
  }

  /// Among HTTPRoutes, or GRPCRoutes, alone there are none: they merge.
  static func arePossible(among keys: Set<ObjectKey>) -> Bool {
    guard keys.count > 1, let first = keys.first else { return false }
    return first.kind == .tcpRoute || first.kind == .tlsRoute || keys.contains { $0.kind != first.kind }
  }

  private static func goesBefore(_ left: Claim, _ right: Claim) -> Bool {
    let isTCP = (left.route.kind == .tcp, right.route.kind == .tcp)
    guard isTCP.0 == isTCP.1 else { return isTCP.1 }
    return (left.route.created, left.key.name, left.key.kind, left.index)
      < (right.route.created, right.key.name, right.key.kind, right.index)
  }

  private static func verdict(on claim: Claim, _ winners: [Claim], _ service: ObjectName) -> Verdict? {
    if let winner = winners.first(where: { conflict(claim, $0) }) { return .lost(loss(of: claim, to: winner, service)) }
    guard claim.route.kind == .tls else { return nil }
    var taken: [(text: String, winner: Claim)] = []
    for name in claim.hostnames {
      let rivals = winners.filter {
        $0.key != claim.key && $0.route.kind == .tls && $0.sharesPort(with: claim) && $0.hostnames.contains(name)
      }
      // One that has the name on all of the claim's ports, if there is one.
      guard let winner = rivals.first(where: { $0.port == nil || $0.port == claim.port }) ?? rivals.first else {
        continue
      }
      taken.append((name.isEmpty ? "any host name" : name, winner))
    }
    guard let first = taken.first else { return nil }
    let isWhole =
      taken.count == claim.hostnames.count
      && taken.allSatisfy { $0.winner.port == nil || $0.winner.port == claim.port }
    guard !isWhole else { return .lost(loss(of: claim, to: first.winner, service)) }
    return .partly(
      taken.map { "\($0.winner.key), which is older, already routes \($0.text) at \(place(claim, $0.winner, service))" }
        .joined(separator: "; "))
  }

  private static func conflict(_ left: Claim, _ right: Claim) -> Bool {
    guard left.key != right.key, left.sharesPort(with: right) else { return false }
    switch (left.route.kind, right.route.kind) {
    case (.tcp, _), (_, .tcp): return true
    case (.http, .grpc), (.grpc, .http): return overlap(left.route.hostnames, right.route.hostnames)
    default: return false
    }
  }

  private static func loss(of claim: Claim, to winner: Claim, _ service: ObjectName) -> Finding {
    let isByKind = claim.route.kind == .tcp && winner.route.kind != .tcp
    let why = isByKind ? "which goes before any TCPRoute" : "which is older"
    return Finding("Conflicted", "\(winner.key), \(why), already routes \(place(claim, winner, service))")
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
