import ArgumentParser
import KubernetesAPI

struct Uninstall: ResultCommand {
  static let configuration = CommandConfiguration(
    abstract: "Removes Weft from a cluster and from its nodes.",
    discussion: """
      Ends the agents, cleans every node (no pin, cgroup, socket or file stays), and deletes every object, the mesh's CA \
      among them. Takes a half-done installation or upgrade too, and may be given again. Nodes that aren't ready are waited \
      for last; where they don't come back, --skip-nodes goes on without them.

      Exit status: 0 nothing is left, 1 something couldn't be removed, 2 usage, 3 the API server isn't reachable.
      """)

  @OptionGroup var kubeconfig: KubeconfigOptions

  @Flag(help: "Deletes the CustomResourceDefinitions too, and with them every TrafficPolicy and PeerAuthentication.")
  var crds = false

  @Option(
    help: "Names of nodes, joined by commas, that are left as they are, or all: for nodes that don't come back.",
    completion: .shellCommand(Completion.names("nodes")))
  var skipNodes: String?

  @Option(help: "weft-agent's image to clean nodes with. Default: that of an agent that runs, else the installation's.")
  var image = ""

  @Option(help: "Seconds, 1 to 86400.")
  var timeout = 300

  func validate() throws {
    guard 1...86_400 ~= timeout else { throw ValidationError("--timeout \(timeout): give 1 to 86400 seconds") }
    guard SkippedNodes(skipNodes) != nil else {
      throw ValidationError("--skip-nodes: give names of nodes, joined by commas, or all")
    }
  }

  func execute() async throws -> CommandResult {
    try await kubeconfig.withCluster(timeout: .seconds(timeout)) { cluster in
      let removed = try await Remover(cluster: cluster, server: try await cluster.version(), image: image).remove(
        withDefinitions: crds, skipping: SkippedNodes(skipNodes) ?? .named([]))
      guard removed.objects > 0 else {
        return CommandResult(text: "Weft isn't installed here; nothing was left.", status: .fine)
      }
      let rest = crds ? "" : " The CustomResourceDefinitions stay, with their objects; --crds deletes them."
      return CommandResult(text: "Weft is removed.\(rest)\(removed.warning)", status: .fine)
    }
  }
}

/// Removes what there is of an installation, in whatever state it is.
struct Remover {
  var cluster: InstallCluster
  var server: ServerVersion
  /// Which cleans nodes; empty: what is known of the installation says it.
  var image = ""

  struct Removed {
    var objects: Int
    /// Nodes that had to be cleaned and weren't.
    var skipped: SkippedNodes
    /// NAMESPACE/NAME of those whose stub carries their connections.
    var stubPods: [String]

    var warning: String { skippedWarning + stubWarning }

    private var skippedWarning: String {
      guard !skipped.isEmpty else { return "" }
      return
        "\n! Not cleaned: \(skipped). What Weft left there goes by weft-agent clean, run there as root, or by weft install "
        + "and weft uninstall once the nodes are back."
    }

    private var stubWarning: String {
      guard !stubPods.isEmpty else { return "" }
      let listed = stubPods.prefix(20).joined(separator: ", ") + (stubPods.count > 20 ? ", …" : "")
      return
        "\n! \(stubPods.count) pods still have a stub, which carries them until its certificate ends. Make them anew "
        + "without one, as by `kubectl rollout restart`: \(listed)"
    }
  }

  func remove(withDefinitions: Bool, skipping skipped: SkippedNodes) async throws -> Removed {
    let found = try await found()
    let silent: Set<String> = try await skipped.isEmpty ? [] : cluster.unreadyNodes().filter(skipped.contains)
    var uncleaned = SkippedNodes.named([])
    let definitions = found.filter { $0.kind == .customResourceDefinition }
    let others = found.filter { $0.kind != .customResourceDefinition }
    // First: without weft-control a webhook would refuse pods.
    for identity in others where identity.kind == .mutatingWebhookConfiguration { try await delete(identity) }
    if others.contains(where: { $0.kind == .namespace }), let rendering = try await rendering(found) {
      uncleaned = skipped
      if case .named(let names) = skipped {
        try await NodeCleaner(cluster: cluster, image: image, skipped: names).clean(rendering)
      }
    }
    try await forgetPods(on: silent)
    let rest = others.filter { $0.kind != .mutatingWebhookConfiguration }.sorted { $1 < $0 }
    for identity in rest { try await delete(identity) }
    if withDefinitions {
      for identity in definitions { try await delete(identity) }
    }
    let removed = others + (withDefinitions ? definitions : [])
    try await waitForEnd(of: removed, forgetting: silent)
    let roots = try await deleteRoots()
    let count = removed.count + roots.count
    if count > 0 { cluster.progress.done("\(count) objects are deleted") }
    var stubPods: [String] = []
    for namespace in roots { stubPods += try await tunnelPods(in: namespace) }
    return Removed(objects: count, skipped: uncleaned, stubPods: stubPods.sorted())
  }

  /// Of nodes that don't tell what has ended, and so would keep the namespace.
  private func forgetPods(on nodes: Set<String>) async throws {
    guard !nodes.isEmpty else { return }
    for pod in try await cluster.list("/api/v1/namespaces/\(Rendering.namespace)/pods?limit=500")
    where nodes.contains(pod.nodeName) {
      try await cluster.forget(pod)
    }
  }

  private func tunnelPods(in namespace: String) async throws -> [String] {
    try await cluster.list("/api/v1/namespaces/\(namespace)/pods?limit=500").compactMap { pod in
      guard pod[["metadata", "annotations", "weft.dev/injected"]]?.text == "tunnel" else { return nil }
      return pod["metadata"]?["name"]?.text.map { "\(namespace)/\($0)" }
    }
  }

  /// The roots that weft-control wrote into namespaces with stubs; after its end, or it would write them again.
  /// - Returns: the namespaces.
  private func deleteRoots() async throws -> [String] {
    let configMaps = try await cluster.list("/api/v1/configmaps?fieldSelector=metadata.name%3Dweft-roots&limit=500")
    let namespaces = configMaps.compactMap { $0["metadata"]?["namespace"]?.text }
    for namespace in namespaces {
      try await delete(Manifest.Identity(kind: .configMap, namespace: namespace, name: "weft-roots"))
    }
    return namespaces
  }

  /// Everything that carries the label, in the cluster and in the namespace.
  func found() async throws -> [Manifest.Identity] {
    var found: [Manifest.Identity] = []
    for kind in InstallKind.allCases {
      let namespace = kind.isClusterScoped ? "" : Rendering.namespace
      for object in try await cluster.installed(kind.resource(on: server), namespace: namespace) {
        guard let name = object["metadata"]?["name"]?.text else { continue }
        found.append(Manifest.Identity(kind: kind, namespace: namespace, name: name))
      }
    }
    return found.sorted()
  }

  /// nil: it has no agents, as the record says, and none are there; where the record is gone or unreadable, it may have had.
  private func rendering(_ found: [Manifest.Identity]) async throws -> Rendering? {
    let record = try? await InstallRecord.read(cluster)
    guard record?.overlay.hasAgents != false || found.contains(where: { $0.kind == .daemonSet }) else { return nil }
    return Rendering(values: record?.values ?? InstallValues(), server: server)
  }

  private func delete(_ identity: Manifest.Identity) async throws {
    cluster.progress.step("deleting \(identity)")
    try await cluster.delete(identity.kind.resource(on: server), identity)
  }

  private func waitForEnd(of identities: [Manifest.Identity], forgetting silent: Set<String>) async throws {
    var left: [Manifest.Identity] = identities
    let isGone = try await cluster.wait {
      try await forgetPods(on: silent)
      left = try await found().filter { identities.contains($0) }
      if let first = left.first { cluster.progress.show("\(first) is being deleted") }
      return left.isEmpty
    }
    guard isGone else {
      let unready = try await cluster.unreadyNodes()
      let hint =
        unready.isEmpty ? "" : ", or pods of a node that isn't ready: \(AgentNodes.list(unready)) (--skip-nodes)"
      throw Failure(
        message: "\(left.map(\.description).joined(separator: ", ")): deleted, but still there: "
          + "its finalizers or the cluster's controller-manager keep it\(hint).", status: .unhealthy)
    }
  }
}
