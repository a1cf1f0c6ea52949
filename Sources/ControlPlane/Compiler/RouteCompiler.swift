import MeshModel

/// Resolves one route against the Services and grants in force. A pure function of the stores.
struct RouteCompiler {
  let services: [ObjectName: ServiceObject]
  let traffic: TrafficStore

  struct Result {
    /// nil where no parent accepts it.
    var route: Route?
    var statuses: [ParentStatus]
  }

  /// - Parameter verdicts: for parents of which another route is in the way.
  func compile(_ key: ObjectKey, _ object: RouteObject, _ verdicts: [Int: RouteConflicts.Verdict]) -> Result {
    let (rules, unresolved) = resolve(object, in: key.name.namespace)
    var parents: [Route.Parent] = []
    var statuses: [ParentStatus] = []
    for (index, parent) in object.parents.enumerated() {
      var finding = rejection(of: object, at: parent)
      var note = ""
      switch verdicts[index] {
      case .lost(let loss): finding = finding ?? loss
      case .partly(let text): note = text
      case nil: break
      }
      switch resolve(parent) {
      case .success(let port):
        let accepted = Route.Parent(service: parent.service.key, port: port)
        if finding == nil, !parents.contains(accepted) { parents.append(accepted) }
      case .failure(let failure): finding = finding ?? failure
      }
      statuses.append(
        ParentStatus(
          namespace: parent.namespace, name: parent.name, sectionName: parent.sectionName, port: parent.port,
          conditions: [
            ObjectCondition("Accepted", finding, otherwise: "Accepted", note: note),
            ObjectCondition("ResolvedRefs", unresolved, otherwise: "ResolvedRefs"),
          ]))
    }
    guard !parents.isEmpty else { return Result(route: nil, statuses: statuses) }
    let route = Route(
      kind: object.kind, namespace: key.name.namespace, name: key.name.name, created: object.created,
      parents: parents, hostnames: object.hostnames, rules: rules)
    return Result(route: route, statuses: statuses)
  }

  /// Why it can't be accepted whatever other routes there are. A Service that binds clients to endpoints by their
  /// addresses can't bind them by sessions too (GEP-1619).
  func rejection(of object: RouteObject, at parent: RouteObject.Parent) -> Finding? {
    if let rejection = object.rejection { return rejection }
    for (index, rule) in object.rules.enumerated() where rule.sessionPersistence != nil {
      let names = [parent.service] + rule.backends.map { ObjectName($0.service.namespace, $0.service.name) }
      guard let name = names.first(where: { services[$0]?.hasClientAffinity == true }) else { continue }
      return Finding(
        "UnsupportedValue",
        "spec.rules[\(index)].sessionPersistence: the Service \(name) has sessionAffinity: ClientIP, which excludes it")
    }
    return nil
  }

  enum Port {
    case success(UInt16?)
    case failure(Finding)
  }

  /// The parent's port, nil for all.
  func resolve(_ parent: RouteObject.Parent) -> Port {
    guard let service = services[parent.service], !service.isExternalName else {
      return .failure(Finding("NoMatchingParent", "there is no Service \(parent.service)"))
    }
    guard let port = service.port(parent.port, named: parent.sectionName) else {
      let what = parent.sectionName.isEmpty ? "\(parent.port ?? 0)" : "\"\(parent.sectionName)\""
      return .failure(Finding("NoMatchingParent", "the Service \(parent.service) has no TCP port \(what)"))
    }
    return .success(port)
  }

  /// The rules with `invalid` set where a reference leads nowhere, and the first reason for that.
  private func resolve(_ object: RouteObject, in namespace: String) -> ([RouteRule], Finding?) {
    var unresolved: Finding?
    func check(_ service: ServiceKey, _ port: UInt16, _ invalid: inout String) {
      if invalid.isEmpty, let finding = problem(service, port, object, in: namespace) { invalid = finding.description }
      if !invalid.isEmpty, unresolved == nil { unresolved = Finding(invalid) }
    }
    func check(_ filters: inout [RouteFilter]) {
      for index in filters.indices {
        guard case .mirror(var mirror) = filters[index] else { continue }
        check(mirror.service, mirror.port, &mirror.invalid)
        filters[index] = .mirror(mirror)
      }
    }
    var rules = object.rules
    for index in rules.indices {
      check(&rules[index].filters)
      for backend in rules[index].backends.indices {
        check(
          rules[index].backends[backend].service, rules[index].backends[backend].port,
          &rules[index].backends[backend].invalid)
        check(&rules[index].backends[backend].filters)
      }
    }
    return (rules, unresolved)
  }

  private func problem(_ key: ServiceKey, _ port: UInt16, _ object: RouteObject, in namespace: String) -> Finding? {
    let name = ObjectName(key.namespace, key.name)
    // A consumer route may send its clients to its own parent: they can reach it without the route.
    if key.namespace != namespace, !object.parents.contains(where: { $0.service == name }),
      !traffic.isPermitted(object.kind, from: namespace, to: name)
    {
      return Finding(
        "RefNotPermitted",
        "no ReferenceGrant in \(key.namespace) lets an \(object.kind.objectKind) of \(namespace) refer to the Service "
          + "\(name)"
      )
    }
    guard let service = services[name], !service.isExternalName else {
      return Finding("BackendNotFound", "there is no Service \(name)")
    }
    guard service.port(port, named: "") != nil else {
      return Finding("BackendNotFound", "the Service \(name) has no TCP port \(port)")
    }
    return nil
  }
}

extension ObjectName {
  var key: ServiceKey { ServiceKey(namespace: namespace, name: name) }
}

extension ServiceObject {
  /// The TCP port of that number and name, `.some(nil)` where neither is given; nil where there is none.
  func port(_ number: UInt16?, named name: String) -> UInt16?? {
    if number == nil, name.isEmpty { return .some(nil) }
    let found = ports.first {
      $0.transport == .tcp && (number == nil || $0.port == number) && (name.isEmpty || $0.name == name)
    }
    return found.map { .some($0.port) }
  }
}
