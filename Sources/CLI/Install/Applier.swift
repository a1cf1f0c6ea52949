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
    try await wait(.deployment, "weft-control", unit: "replicas") { Rollout.of(deployment: $0) }
  }

  /// Nothing where the overlay has no agents.
  func waitForAgents() async throws {
    guard rendering.overlay.hasAgents else { return }
    try await wait(.daemonSet, "weft-agent", unit: "nodes") { Rollout.of(daemonSet: $0) }
  }

  private func wait(
    _ kind: InstallKind, _ name: String, unit: String, _ rollout: (JSONNode) -> Rollout
  ) async throws {
    let identity = Manifest.Identity(kind: kind, namespace: Rendering.namespace, name: name)
    var last = Rollout(ready: 0, wanted: 0, isDone: false)
    let isDone = try await cluster.wait {
      guard let object = try await cluster.object(identity) else {
        throw Failure(message: "\(identity) has been deleted meanwhile.", status: .unhealthy)
      }
      last = rollout(object)
      if !last.isDone { progress.show("\(name): \(last.ready) of \(last.wanted) \(unit)") }
      return last.isDone
    }
    guard isDone else { throw try await failure(name, last, unit) }
    progress.done("\(name): \(last.ready) of \(last.wanted) \(unit)")
  }

  private func failure(_ name: String, _ rollout: Rollout, _ unit: String) async throws -> Failure {
    var lines = PodTrouble.lines(try await cluster.pods(of: name))
    if !rollout.problem.isEmpty { lines.append(Text.printable(rollout.problem)) }
    if lines.isEmpty { lines.append("no pod of it has been made: does the cluster's controller-manager run?") }
    return Failure(
      message: "\(name) isn't healthy in time: \(rollout.ready) of \(rollout.wanted) \(unit).\n"
        + lines.map { "  \($0)\n" }.joined()
        + "What is applied stays; give the same command again once it is repaired, or weft uninstall.",
      status: .unhealthy)
  }
}
