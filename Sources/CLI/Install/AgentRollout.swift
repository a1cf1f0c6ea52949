import KubernetesAPI

/// How far the agents are, where nodes that aren't ready aren't waited for.
struct AgentRollout {
  static let identity = Manifest.Identity(kind: .daemonSet, namespace: Rendering.namespace, name: "weft-agent")

  private var cluster: InstallCluster
  private var unready: UnreadyNodes<Rollout>

  init(cluster: InstallCluster) {
    self.cluster = cluster
    unready = UnreadyNodes(cluster: cluster, withAgents: true)
  }

  /// - Returns: nil: the DaemonSet is gone.
  mutating func look() async throws -> Rollout? {
    guard let daemonSet = try await cluster.object(Self.identity) else { return nil }
    let rollout = Rollout.of(daemonSet: daemonSet)
    let names = try await unready.names(rollout)
    guard !rollout.isDone, !names.isEmpty else { return rollout }
    return Rollout.of(
      daemonSet: daemonSet, pods: try await cluster.pods(of: Self.identity.name),
      revision: try await cluster.revision(of: daemonSet), unready: names)
  }
}

/// The nodes that aren't ready, looked for only once nothing has moved for a while: the list of all nodes is long, and most
/// of what is waited for comes before.
struct UnreadyNodes<State: Equatable> {
  private let cluster: InstallCluster
  private let withAgents: Bool
  private let patience = Duration.seconds(5)
  private var state: State?
  private var known: Set<String> = []
  private var next = ContinuousClock.now

  /// - Parameter withAgents: only of those that are to have an agent.
  init(cluster: InstallCluster, withAgents: Bool = false) {
    self.cluster = cluster
    self.withAgents = withAgents
  }

  /// - Parameter current: how far it is.
  /// - Returns: their names; none where it isn't now as it was.
  mutating func names(_ current: State) async throws -> Set<String> {
    let now = ContinuousClock.now
    if current != state {
      state = current
      known = []
    } else if now >= next {
      known = try await cluster.unreadyNodes(withAgents: withAgents)
    } else {
      return known
    }
    next = now + patience
    return known
  }
}
