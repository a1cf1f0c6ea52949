import KubernetesAPI

/// Applies an installation's objects and waits until they work.
struct Applier {
  var cluster: InstallCluster
  var rendering: Rendering

  private var progress: Progress { cluster.progress }

  func apply(_ manifests: [Manifest]) async throws {
    for (index, manifest) in manifests.enumerated() {
      progress.step("\(index + 1) of \(manifests.count): \(manifest.identity)")
      try await cluster.apply(manifest)
      // Its objects can be made, and weft-control finds it, only from then on.
      if manifest.identity.kind == .customResourceDefinition { try await waitForDefinition(manifest.identity) }
    }
    progress.done("\(manifests.count) objects applied")
  }

  private func waitForDefinition(_ identity: Manifest.Identity) async throws {
    let isThere = try await cluster.wait {
      let conditions = try await cluster.object(identity)?["status"]?["conditions"]?.elements ?? []
      return conditions.contains { $0["type"]?.text == "Established" && $0["status"]?.text == "True" }
    }
    guard isThere else {
      throw Failure(
        message: "\(identity) isn't established by the API server; its status says why.", status: .unhealthy)
    }
  }

  /// - Throws: `Failure` with what keeps the pods, where the time is over first.
  func waitForControl() async throws {
    let control = Manifest.Identity(kind: .deployment, namespace: Rendering.namespace, name: "weft-control")
    try await wait(control, unit: "replicas") {
      try await cluster.object(control).map { Rollout.of(deployment: $0) }
    }
  }

  /// Nothing where the overlay has no agents.
  func waitForAgents() async throws {
    guard rendering.overlay.hasAgents else { return }
    try await wait(for: AgentRollout(cluster: cluster))
  }

  /// Applies the DaemonSet and says of each node when its new agent is ready; the time begins again with each.
  func replaceAgents(_ manifests: [Manifest], timeout: Duration) async throws {
    var known = Set(try await cluster.pods(of: "weft-agent").compactMap { $0["metadata"]?["uid"]?.text })
    for manifest in manifests { try await cluster.apply(manifest) }
    var agents = AgentRollout(cluster: cluster)
    var following = self
    while true {
      var isOver = false
      let isInTime = try await following.cluster.wait {
        for pod in try await cluster.pods(of: "weft-agent") {
          guard let uid = pod["metadata"]?["uid"]?.text, !known.contains(uid), PodTrouble.reason(pod) == nil else {
            continue
          }
          known.insert(uid)
          progress.done("\(Text.printable(pod["spec"]?["nodeName"]?.text ?? "a node")): its agent is replaced")
          return true
        }
        // Deleted is over too: `wait(for:)` says it.
        isOver = try await agents.look()?.isDone ?? true
        return isOver
      }
      if isOver || !isInTime { break }
      following.cluster = cluster.again(timeout)
    }
    // Says how it is, or why it isn't done.
    try await following.wait(for: agents)
  }

  private func wait(for agents: AgentRollout) async throws {
    var agents = agents
    let rollout = try await wait(AgentRollout.identity, unit: "nodes") { try await agents.look() }
    guard !rollout.late.isEmpty else { return }
    progress.warn("nodes that aren't ready get their agent once they are: \(AgentNodes.list(rollout.late))")
  }

  @discardableResult
  private func wait(
    _ identity: Manifest.Identity, unit: String, _ look: () async throws -> Rollout?
  ) async throws -> Rollout {
    var last = Rollout(ready: 0, wanted: 0, isDone: false)
    let isDone = try await cluster.wait {
      guard let rollout = try await look() else {
        throw Failure(message: "\(identity) has been deleted meanwhile.", status: .unhealthy)
      }
      last = rollout
      if !last.isDone { progress.show("\(identity.name): \(last.ready) of \(last.wanted) \(unit)") }
      return last.isDone
    }
    guard isDone else { throw try await failure(identity, last, unit) }
    progress.done("\(identity.name): \(last.ready) of \(last.wanted) \(unit)")
    return last
  }

  private func failure(_ identity: Manifest.Identity, _ rollout: Rollout, _ unit: String) async throws -> Failure {
    var lines = PodTrouble.lines(try await cluster.pods(of: identity.name))
    if !rollout.problem.isEmpty { lines.append(Text.printable(rollout.problem)) }
    if lines.isEmpty { lines.append("no pod of it has been made: does the cluster's controller-manager run?") }
    if identity == AgentRollout.identity {
      let unready = try await cluster.unreadyNodes(withAgents: true)
      if !unready.isEmpty {
        lines.append(
          "not ready, and so counted as unavailable: \(AgentNodes.list(unready)); "
            + "weft upgrade --set agent.maxUnavailable=\(unready.count + 1) goes on with the other nodes")
      }
    }
    return Failure(
      message: "\(identity.name) isn't healthy in time: \(rollout.ready) of \(rollout.wanted) \(unit).\n"
        + lines.map { "  \($0)\n" }.joined()
        + "What is applied stays; give the same command again once it is repaired, or weft uninstall.",
      status: .unhealthy)
  }
}
