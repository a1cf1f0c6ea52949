import Foundation
import KubernetesAPI

/// The control plane's replicas, its leader, and its rights.
enum ControlPlaneChecks {
  /// Seconds that two clocks may differ by: as agents judge theirs.
  private static let clockTolerance = 30.0

  static func findings(_ facts: ClusterFacts) -> [Finding] {
    clock(facts) + replicas(facts) + leader(facts) + access(facts)
  }

  // MARK: Clock

  /// The cluster's times are judged by its own clock, so a wrong one of this machine is told, and no more.
  static func clock(_ facts: ClusterFacts) -> [Finding] {
    let difference = abs(facts.clockLead)
    guard difference > clockTolerance else { return [] }
    let side = facts.clockLead > 0 ? "ahead of" : "behind"
    return [
      Finding(
        severity: .warning, check: "clock",
        reason:
          "this machine's is \(Text.duration(difference)) \(side) the API server's, which is the one that counts here",
        repair: "set this machine's clock, or the API server's if that one is wrong")
    ]
  }

  // MARK: Replicas

  static func replicas(_ facts: ClusterFacts) -> [Finding] {
    let check = "control plane"
    switch facts.deployment {
    case .unknown: return facts.deployment.ignorance(of: check)
    case .absent:
      return [
        Finding(
          severity: .error, check: check, place: "Deployment weft-system/weft-control", reason: "isn't there",
          repair: "weft install")
      ]
    case .found(let deployment):
      let rollout = Rollout.of(deployment: deployment)
      if rollout.isDone { return [.ok(check, "\(rollout.ready) of \(rollout.wanted) replicas ready")] }
      let lines = PodTrouble.lines(facts.pods(of: "weft-control"), limit: 5)
      let why = rollout.problem.isEmpty ? lines.joined(separator: "; ") : rollout.problem
      return [
        Finding(
          severity: .error, check: check, place: "Deployment weft-system/weft-control",
          reason: "\(rollout.ready) of \(rollout.wanted) replicas ready\(why.isEmpty ? "" : ": \(why)")",
          repair: "kubectl -n weft-system logs -l app.kubernetes.io/name=weft-control --tail=50")
      ]
    }
  }

  // MARK: Leader

  static func leader(_ facts: ClusterFacts) -> [Finding] {
    let check = "leader"
    let repair = "kubectl -n weft-system logs -l app.kubernetes.io/name=weft-control --tail=50"
    func problem(_ reason: String) -> [Finding] {
      [
        Finding(
          severity: .error, check: check, place: "Lease weft-system/weft-control",
          reason: "\(reason): nobody writes statuses, roots and the webhook's CA", repair: repair)
      ]
    }
    switch facts.lease {
    case .unknown: return facts.lease.ignorance(of: check)
    case .absent: return problem("no replica has ever led")
    case .found(let lease):
      let spec = lease["spec"]
      guard let holder = spec?["holderIdentity"]?.text, !holder.isEmpty else { return problem("no replica leads") }
      guard let text = spec?["renewTime"]?.text, let renewed = Times.read(text) else {
        return problem("it says no time")
      }
      let patience = Double(spec?["leaseDurationSeconds"]?.integer ?? 15)
      let age = facts.now.timeIntervalSince(renewed)
      guard age <= 2 * patience else {
        return problem("\(holder) led until \(Text.duration(age)) ago")
      }
      return [.ok(check, holder)]
    }
  }

  // MARK: Rights

  /// The ClusterRole and, in the mesh's namespace, the Role are to allow what this version's do, and to be bound to the account.
  static func access(_ facts: ClusterFacts) -> [Finding] {
    let findings =
      rights(.clusterRole, facts.clusterRole, facts.clusterRoleBinding, without: "may read nothing")
      + rights(.role, facts.role, facts.roleBinding, without: "has no CA, and nobody leads")
      + (facts.clusterRole.value == nil ? [] : agentAccess(facts))
    return findings.isEmpty ? [.ok("access", "weft-control may what it needs, weft-agent nothing")] : findings
  }

  private static func rights(
    _ kind: InstallKind, _ role: Fact<JSONNode>, _ binding: Fact<JSONNode>, without consequence: String
  ) -> [Finding] {
    let check = "access"
    let repair = "weft upgrade"
    switch (role, binding) {
    case (.unknown, _): return role.ignorance(of: check)
    case (_, .unknown): return binding.ignorance(of: check)
    case (.absent, _), (_, .absent):
      return [
        Finding(
          severity: .error, check: check, place: "\(kind.rawValue) and \(kind.rawValue)Binding weft-control",
          reason: "one of them isn't there, so weft-control \(consequence)", repair: repair)
      ]
    case (.found(let role), .found(let binding)):
      var findings: [Finding] = []
      let missing = missingRules(in: role, kind)
      if !missing.isEmpty {
        findings.append(
          Finding(
            severity: .error, check: check, place: "\(kind.rawValue) weft-control",
            reason: "doesn't allow \(missing.prefix(5).joined(separator: ", "))", repair: repair))
      }
      let isBound =
        binding["roleRef"]?["name"]?.text == "weft-control"
        && (binding["subjects"]?.elements ?? []).contains { isAccount($0, "weft-control") }
      if !isBound {
        findings.append(
          Finding(
            severity: .error, check: check, place: "\(kind.rawValue)Binding weft-control",
            reason: "doesn't give the role to ServiceAccount weft-system/weft-control", repair: repair))
      }
      return findings
    }
  }

  /// An agent may do nothing at the API server. Who may not see all bindings isn't told of them.
  private static func agentAccess(_ facts: ClusterFacts) -> [Finding] {
    (facts.bindings.value ?? []).filter { binding in
      (binding["subjects"]?.elements ?? []).contains { isAccount($0, "weft-agent") }
    }.map { binding in
      let kind = binding.namespace.isEmpty ? "ClusterRoleBinding" : "RoleBinding"
      let option = binding.namespace.isEmpty ? "" : "-n \(binding.namespace) "
      return Finding(
        severity: .warning, check: "access", place: "\(kind) \(binding.name)",
        reason: "gives rights to weft-agent, which needs none: a node that is taken over would have them",
        repair: "kubectl \(option)delete \(kind.lowercased()) \(binding.name)")
    }
  }

  private static func isAccount(_ subject: JSONNode, _ name: String) -> Bool {
    subject["kind"]?.text == "ServiceAccount" && subject["name"]?.text == name
      && subject["namespace"]?.text == Rendering.namespace
  }

  /// `verb resource` of this version's role that the installed one doesn't allow.
  static func missingRules(in role: JSONNode, _ kind: InstallKind = .clusterRole) -> [String] {
    let wanted = ((try? Rendering().manifests()) ?? []).first {
      $0.identity.kind == kind && $0.identity.name == "weft-control"
    }
    let given = (role["rules"]?.elements ?? []).map(Rule.init)
    return (wanted?.content["rules"]?.elements ?? []).map(Rule.init).flatMap { rule in
      rule.resources.flatMap { resource in
        rule.verbs.filter { verb in
          !rule.groups.allSatisfy { group in given.contains { $0.allows(verb, resource, group, rule.names) } }
        }.map { "\($0) \(resource)" }
      }
    }
  }

  private struct Rule {
    var groups, resources, verbs, names: [String]

    init(_ node: JSONNode) {
      func texts(_ key: String) -> [String] { (node[key]?.elements ?? []).compactMap(\.text) }
      groups = texts("apiGroups")
      resources = texts("resources")
      verbs = texts("verbs")
      names = texts("resourceNames")
    }

    func allows(_ verb: String, _ resource: String, _ group: String, _ wanted: [String]) -> Bool {
      [verb, "*"].contains(where: verbs.contains) && [resource, "*"].contains(where: resources.contains)
        && [group, "*"].contains(where: groups.contains)
        && (names.isEmpty || !wanted.isEmpty && wanted.allSatisfy(names.contains))
    }
  }
}

/// Kubernetes' times.
enum Times {
  /// RFC 3339 in UTC, with a fraction or without.
  static func read(_ text: String) -> Date? {
    let whole = text.split(separator: ".").first.map { $0.hasSuffix("Z") ? String($0) : "\($0)Z" } ?? text
    return try? Date(whole, strategy: .iso8601)
  }
}
