import MeshModel

/// Resolves policies against the targets in force. A pure function of the stores.
struct PolicyCompiler {
  let services: [ObjectName: ServiceObject]
  let traffic: TrafficStore

  struct Result {
    /// nil where no target accepts it.
    var policy: TrafficPolicy?
    var statuses: [ParentStatus]
  }

  /// - Parameter losses: for targets that another policy has.
  func compile(_ object: TrafficPolicyObject, losses: [Int: Finding]) -> Result {
    var policy = object.policy
    var statuses: [ParentStatus] = []
    for (index, target) in object.targets.enumerated() {
      var finding = losses[index]
      switch resolve(target) {
      case .success(let port):
        let resolved = TrafficPolicy.Target(kind: target.kind, port: port)
        if finding == nil, !policy.targets.contains(resolved) { policy.targets.append(resolved) }
      case .failure(let failure): finding = failure
      }
      statuses.append(status(of: target, finding, in: policy.namespace))
    }
    return Result(policy: policy.targets.isEmpty ? nil : policy, statuses: statuses)
  }

  private func status(
    of target: TrafficPolicyObject.Target, _ finding: Finding?, in namespace: String
  ) -> ParentStatus {
    let conditions = [ObjectCondition("Accepted", finding, otherwise: "Accepted")]
    switch target.kind {
    case .service(let key):
      return ParentStatus(
        namespace: key.namespace, name: key.name, sectionName: target.sectionName, port: target.port,
        conditions: conditions)
    case .route(let id):
      let parts = id.split(separator: "/").map(String.init)
      return ParentStatus(
        group: GatewayAPI.group, kind: parts[0], namespace: namespace, name: parts[2], conditions: conditions)
    }
  }

  private func resolve(_ target: TrafficPolicyObject.Target) -> RouteCompiler.Port {
    switch target.kind {
    case .route(let id):
      return traffic.hasRoute(id) ? .success(nil) : .failure(Finding("TargetNotFound", "there is no \(id)"))
    case .service(let key):
      guard let service = services[ObjectName(key.namespace, key.name)], !service.isExternalName else {
        return .failure(Finding("TargetNotFound", "there is no Service \(key)"))
      }
      guard let port = service.port(target.port, named: target.sectionName) else {
        let what = target.sectionName.isEmpty ? "\(target.port ?? 0)" : "\"\(target.sectionName)\""
        return .failure(Finding("TargetNotFound", "the Service \(key) has no TCP port \(what)"))
      }
      return .success(port)
    }
  }

  /// Which policies stand in another's way at one target: the oldest wins, of equally old ones the first by name.
  /// - Returns: the losers' targets, by index, and what beat them.
  func losses(at kind: TrafficPolicy.Target.Kind) -> [ObjectName: [Int: Finding]] {
    var losses: [ObjectName: [Int: Finding]] = [:]
    var winners: [(name: ObjectName, port: UInt16?, clients: [String])] = []
    let names = (traffic.policiesByTarget[kind] ?? []).sorted { left, right in
      let ages = (traffic.policies[left]?.policy.created ?? 0, traffic.policies[right]?.policy.created ?? 0)
      return ages.0 == ages.1 ? left < right : ages.0 < ages.1
    }
    for name in names {
      guard let object = traffic.policies[name] else { continue }
      for (index, target) in object.targets.enumerated() where target.kind == kind {
        guard case .success(let port) = resolve(target) else { continue }
        let clients = object.policy.clients
        let winner = winners.first { $0.name != name && $0.port == port && Self.share($0.clients, clients) }
        guard let winner else {
          winners.append((name, port, clients))
          continue
        }
        losses[name, default: [:]][index] = Finding(
          "Conflicted", "the older TrafficPolicy \(winner.name) already holds for this target and these clients")
      }
    }
    return losses
  }

  private static func share(_ left: [String], _ right: [String]) -> Bool {
    left.isEmpty && right.isEmpty || left.contains { right.contains($0) }
  }
}
