import Foundation
import KubernetesAPI

/// Fetches what the checks judge by; what can't be fetched is a fact too.
struct FactsGathering: Sendable {
  /// Objects of a list that are read; a check of more is cut.
  private static let maximumObjects = 100_000

  var client: KubernetesClient

  func facts(_ options: GlobalOptions) async throws -> ClusterFacts {
    let clock: Date?
    // One question that has to be answered, or nothing can be said at all.
    do { clock = try await client.datedDocument("/version").date } catch {
      throw AgentExec.failure(.api(error), "/version")
    }
    let own = Date()
    var facts = ClusterFacts(now: clock ?? own)
    facts.clockLead = own.timeIntervalSince(facts.now)
    let system = Rendering.namespace
    facts.record = await object("", "configmaps", system, Rendering.record)
    facts.deployment = await object("apps", "deployments", system, "weft-control")
    facts.daemonSet = await object("apps", "daemonsets", system, "weft-agent")
    facts.lease = await object("coordination.k8s.io", "leases", system, "weft-control")
    facts.roots = await object("", "configmaps", system, "weft-roots")
    facts.webhook = await object("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "weft-injector")
    facts.clusterRole = await object("rbac.authorization.k8s.io", "clusterroles", "", "weft-control")
    facts.clusterRoleBinding = await object("rbac.authorization.k8s.io", "clusterrolebindings", "", "weft-control")
    facts.role = await object("rbac.authorization.k8s.io", "roles", system, "weft-control")
    facts.roleBinding = await object("rbac.authorization.k8s.io", "rolebindings", system, "weft-control")
    facts.definitions = await list("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    facts.nodes = await list("", "v1", "nodes")
    facts.namespaces = await list("", "v1", "namespaces")
    facts.node = options.node
    facts.accounts = await list("", "v1", "serviceaccounts", namespace: options.namespace, labelled: "weft.dev/mode")
    facts.pods = await list("", "v1", "pods", namespace: options.namespace)
    if let namespace = options.namespace, namespace != system {
      let own = await list("", "v1", "pods", namespace: system)
      if case .found(let pods) = facts.pods, case .found(let more) = own { facts.pods = .found(pods + more) }
    }
    facts.bindings = await bindings()
    for (kind, group, versions) in Self.kinds {
      let plural = kind == "TrafficPolicy" ? "trafficpolicies" : kind.lowercased() + "s"
      var objects: Fact<[JSONNode]> = .absent
      for version in versions {
        objects = await list(group, version, plural, namespace: options.namespace)
        guard case .absent = objects else { break }
      }
      facts.objects.append((kind, objects))
    }
    await askAgents(&facts, options)
    await askControl(&facts)
    return facts
  }

  private static let kinds = [
    ("HTTPRoute", "gateway.networking.k8s.io", ["v1"]), ("GRPCRoute", "gateway.networking.k8s.io", ["v1", "v1alpha2"]),
    ("TCPRoute", "gateway.networking.k8s.io", ["v1", "v1alpha2"]),
    ("TLSRoute", "gateway.networking.k8s.io", ["v1", "v1alpha3", "v1alpha2"]),
    ("TrafficPolicy", "weft.dev", ["v1alpha1"]), ("PeerAuthentication", "weft.dev", ["v1alpha1"]),
  ]

  // MARK: Agents and control planes

  private func askAgents(_ facts: inout ClusterFacts, _ options: GlobalOptions) async {
    let source = ClusterAgents(client: client)
    let chosen = ClusterAgents.agents(of: facts.pods(of: "weft-agent")).filter { agent in
      options.node.map { $0 == agent.node } ?? true
    }
    let statuses = await source.ask(chosen, "/v1/status")
    let answering = zip(chosen, statuses).filter { if case .success = $1.outcome { true } else { false } }.map(\.0)
    var checks = await source.ask(answering, "/v1/check")[...]
    var workloads = await Self.localWorkloads(of: answering, source)[...]
    facts.agents = statuses.map { status in
      guard case .success = status.outcome else { return Self.agent(status, nil, nil) }
      return Self.agent(status, checks.popFirst(), workloads.popFirst())
    }
  }

  /// Of each agent's own node; an agent of a version before tells of the whole mesh.
  private static func localWorkloads(of agents: [ClusterAgents.Agent], _ source: ClusterAgents) async -> [NodeAnswer] {
    var answers = await source.ask(agents, "/v1/workloads/local")
    let older = answers.indices.filter { if case .failure = answers[$0].outcome { true } else { false } }
    let whole = await source.ask(older.map { agents[$0] }, "/v1/workloads")
    for (index, answer) in zip(older, whole) { answers[index] = answer }
    return answers
  }

  /// One that answers the first question and not the others is known no better than one that doesn't answer.
  private static func agent(_ status: NodeAnswer, _ check: NodeAnswer?, _ known: NodeAnswer?) -> ClusterFacts.Agent {
    do throws(Failure) {
      let answer: StatusAnswer = try decoded(status, "/v1/status")
      let check: CheckAnswer = try decoded(check ?? status, "/v1/check")
      let known: WorkloadsAnswer = try decoded(known ?? status, "/v1/workloads")
      return ClusterFacts.Agent(
        node: status.node, status: .success(answer), checks: check.checks, workloads: known.workloads.filter(\.local))
    } catch {
      return ClusterFacts.Agent(node: status.node, status: .failure(error), checks: [], workloads: [])
    }
  }

  private static func decoded<Answer: Decodable>(_ answer: NodeAnswer, _ path: String) throws(Failure) -> Answer {
    let body = try answer.outcome.get()
    do { return try AgentAnswer.decode(body, from: path) } catch {
      throw error as? Failure ?? Failure(message: "\(error)", status: .unhealthy)
    }
  }

  private func askControl(_ facts: inout ClusterFacts) async {
    for pod in facts.pods(of: "weft-control") where pod["status"]?["phase"]?.text == "Running" {
      if let version = await ControlVersion.ask(client, pod) { facts.controlVersions[pod.name] = version }
    }
  }

  // MARK: Objects

  private func object(
    _ group: String, _ plural: String, _ namespace: String, _ name: String
  ) async -> Fact<JSONNode> {
    let resource = KubernetesResource(group: group, version: "v1", plural: plural)
    do throws(KubernetesError) {
      return try await client.object(resource, namespace: namespace, name: name).map { .found($0) } ?? .absent
    } catch {
      return .unknown(error.description)
    }
  }

  private func bindings() async -> Fact<[JSONNode]> {
    let group = "rbac.authorization.k8s.io"
    guard case .found(let wide) = await list(group, "v1", "clusterrolebindings"),
      case .found(let narrow) = await list(group, "v1", "rolebindings")
    else { return .absent }
    return .found(wide + narrow)
  }

  /// - Parameters:
  ///   - namespace: nil: of all.
  ///   - labelled: only those that have this label.
  private func list(
    _ group: String, _ version: String, _ plural: String, namespace: String? = nil, labelled: String? = nil
  ) async -> Fact<[JSONNode]> {
    let resource = KubernetesResource(group: group, version: version, plural: plural)
    var objects: [JSONNode] = []
    var next = ""
    let selector = labelled.map { "&labelSelector=" + $0.replacing("/", with: "%2F") } ?? ""
    repeat {
      let path =
        resource.path(namespace: namespace ?? "") + "?limit=500" + selector + (next.isEmpty ? "" : "&continue=\(next)")
      do throws(KubernetesError) {
        let page = try await client.document(path)
        objects += page["items"]?.elements ?? []
        next = page["metadata"]?["continue"]?.text ?? ""
      } catch {
        if case .notFound = error { return .absent }
        return .unknown(error.description)
      }
    } while !next.isEmpty && objects.count < Self.maximumObjects
    return .found(objects)
  }
}

/// A control plane's version: what the program itself says, or else its image's tag.
enum ControlVersion {
  static func ask(_ client: KubernetesClient, _ pod: JSONNode) async -> String? {
    let outcome = try? await client.exec(
      ["weft-control", "--version"], namespace: pod.namespace, pod: pod.name, container: "weft-control",
      maximumOutput: 1024, seconds: 10)
    if let outcome, outcome.status == 0 {
      let text = String(decoding: outcome.output, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
      if !text.isEmpty { return text }
    }
    return tag(of: pod)
  }

  /// nil: the image is named by its digest alone, or by no tag.
  static func tag(of pod: JSONNode) -> String? {
    let containers = pod["spec"]?["containers"]?.elements ?? []
    let image = (containers.first { $0["name"]?.text == "weft-control" } ?? containers.first)?["image"]?.text ?? ""
    let named = image.split(separator: "@").first ?? ""
    guard let last = named.split(separator: "/").last, let colon = last.lastIndex(of: ":") else { return nil }
    return String(last[last.index(after: colon)...])
  }
}
