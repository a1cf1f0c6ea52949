import KubernetesAPI

/// Ends the agents of all nodes, and removes what they left there.
struct NodeCleaner {
  var cluster: InstallCluster
  /// Which cleans; empty: that of an agent that is ready, else the installation's.
  var image = ""

  private static let agent = Manifest.Identity(kind: .daemonSet, namespace: Rendering.namespace, name: "weft-agent")

  /// - Parameter rendering: how it is installed.
  /// - Throws: `Failure` with the nodes that aren't clean, where the time is over first.
  func clean(_ rendering: Rendering) async throws {
    var rendering = rendering
    rendering.overlay = .standard
    guard let standard = try rendering.manifests().first(where: { $0.identity == Self.agent }),
      var manifest = NodeCleaning.manifest(from: standard)
    else { return }
    let running = image.isEmpty ? try await NodeCleaning.image(of: cluster.pods(of: "weft-agent")) : image
    if let running { manifest.editContainers { $0.set(["image"], to: .text(running)) } }
    try await remove(Self.agent)
    // Of a try before this one.
    try await remove(NodeCleaning.identity)
    try await cluster.apply(manifest)
    try await waitForNodes()
    try await remove(NodeCleaning.identity)
  }

  private func remove(_ identity: Manifest.Identity) async throws {
    try await cluster.delete(identity.kind.resource(), identity)
    let isGone = try await cluster.wait {
      let pods = try await cluster.pods(of: identity.name)
      if !pods.isEmpty { cluster.progress.show("\(identity.name): \(pods.count) pods are ending") }
      return pods.isEmpty
    }
    guard isGone else {
      throw Failure(message: "The pods of \(identity) don't end; kubectl describes why.", status: .unhealthy)
    }
  }

  private func waitForNodes() async throws {
    var state = NodeCleaning.State(pods: [])
    let isDone = try await cluster.wait {
      state = NodeCleaning.State(pods: try await cluster.pods(of: NodeCleaning.name))
      let daemonSet = try await cluster.object(NodeCleaning.identity)
      if state.isDone(daemonSet: daemonSet) { return true }
      cluster.progress.show("\(state.cleaned.count) nodes are clean, \(state.waiting.count) are waited for")
      return false
    }
    guard isDone else {
      let lines = state.waiting.sorted { $0.key < $1.key }.prefix(20).map {
        "  \(Text.printable("\($0.key): \($0.value)"))\n"
      }
      throw Failure(
        message: "Not every node could be cleaned in time:\n\(lines.joined())"
          + "Give weft uninstall again once they are ready, or with --skip-nodes to leave on nodes what is there.",
        status: .unhealthy)
    }
    cluster.progress.done("\(state.cleaned.count) nodes are clean")
  }
}
