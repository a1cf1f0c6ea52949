import KubernetesAPI

/// Ends the agents of all nodes, and removes what they left there.
struct NodeCleaner {
  var cluster: InstallCluster
  /// Which cleans; empty: that of an agent that is ready, else the installation's.
  var image = ""
  /// Names of nodes that are left as they are.
  var skipped: Set<String> = []

  /// - Parameter rendering: how it is installed.
  /// - Throws: `Failure` with the nodes that aren't clean, where the time is over first.
  func clean(_ rendering: Rendering) async throws {
    var rendering = rendering
    rendering.overlay = .standard
    guard let standard = try rendering.manifests().first(where: { $0.identity == AgentRollout.identity }),
      var manifest = NodeCleaning.manifest(from: standard, skipping: skipped)
    else { return }
    let running = image.isEmpty ? try await NodeCleaning.image(of: cluster.pods(of: "weft-agent")) : image
    if let running { manifest.editContainers { $0.set(["image"], to: .text(running)) } }
    try await remove(AgentRollout.identity)
    // Of a try before this one.
    try await remove(NodeCleaning.identity)
    try await cluster.apply(manifest)
    try await waitForNodes()
    try await remove(NodeCleaning.identity)
  }

  private func remove(_ identity: Manifest.Identity) async throws {
    try await cluster.delete(identity.kind.resource(), identity)
    var unready = UnreadyNodes<Int>(cluster: cluster)
    let isGone = try await cluster.wait {
      let pods = try await cluster.pods(of: identity.name).filter { !skipped.contains($0.nodeName) }
      if !pods.isEmpty { cluster.progress.show("\(identity.name): \(pods.count) pods are ending") }
      // A node that isn't ready ends none: only its own cleaning waits for that.
      let silent = try await unready.names(pods.count)
      return pods.allSatisfy { silent.contains($0.nodeName) }
    }
    guard isGone else {
      throw Failure(message: "The pods of \(identity) don't end; kubectl describes why.", status: .unhealthy)
    }
  }

  private func waitForNodes() async throws {
    var state = NodeCleaning.State(pods: [])
    let isDone = try await cluster.wait {
      let pods = try await cluster.pods(of: NodeCleaning.name)
      state = NodeCleaning.State(pods: pods.filter { !skipped.contains($0.nodeName) })
      let daemonSet = try await cluster.object(NodeCleaning.identity)
      if state.isDone(daemonSet: daemonSet) { return true }
      cluster.progress.show("\(state.cleaned.count) nodes are clean, \(state.waiting.count) are waited for")
      return false
    }
    guard isDone else {
      let unready = try await cluster.unreadyNodes()
      let waiting = state.waiting.sorted { $0.key < $1.key }.prefix(20)
      let lines = waiting.map { node, reason in
        let why = unready.contains(node) ? "isn't ready" : reason
        return "  \(Text.printable("\(node): \(why)"))\n"
      }
      let names = waiting.isEmpty ? "NODE" : Text.printable(waiting.map(\.key).joined(separator: ","))
      throw Failure(
        message: "Not every node could be cleaned in time:\n\(lines.joined())"
          + "Give the same command again once they are ready; weft uninstall --skip-nodes \(names) leaves what is there.",
        status: .unhealthy)
    }
    cluster.progress.done("\(state.cleaned.count) nodes are clean")
  }
}
