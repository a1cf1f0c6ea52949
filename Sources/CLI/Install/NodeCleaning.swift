import KubernetesAPI

/// The DaemonSet that removes from each node what its agent left there: `weft-agent clean`, with an agent's privileges.
enum NodeCleaning {
  static let name = "weft-clean"
  static let identity = Manifest.Identity(kind: .daemonSet, namespace: Rendering.namespace, name: name)

  /// - Parameters:
  ///   - agent: the installation's DaemonSet, which says how a node is reached and by which image.
  ///   - skipped: names of nodes that are left as they are.
  static func manifest(from agent: Manifest, skipping skipped: Set<String> = []) -> Manifest? {
    var content = agent.content
    let labels: JSONNode = ["app.kubernetes.io/name": .text(name), Rendering.label: .text(Rendering.labelValue)]
    content.set(["metadata", "name"], to: .text(name))
    content.set(["metadata", "labels"], to: [Rendering.label: .text(Rendering.labelValue)])
    content.set(["spec", "selector"], to: ["matchLabels": ["app.kubernetes.io/name": .text(name)]])
    content.set(["spec", "template", "metadata", "labels"], to: labels)
    content.set(["spec", "template", "spec", "terminationGracePeriodSeconds"], to: 5)
    // All nodes at once: nothing is kept running.
    content.set(["spec", "updateStrategy"], to: ["type": "OnDelete"])
    content.set(["spec", "minReadySeconds"], to: nil)
    content.editElements(AgentNodes.terms) { term in
      // A node that was left out after it had an agent still has what that left there; elsewhere nothing is found.
      term.removeElements(["matchExpressions"]) { $0["key"]?.text == AgentNodes.label }
      guard !skipped.isEmpty else { return }
      // One requirement each: the API takes one value in it.
      term.set(
        ["matchFields"],
        to: .array(
          skipped.sorted().map { ["key": "metadata.name", "operator": "NotIn", "values": .array([.text($0)])] }))
    }
    // The folders that hold an agent's own, so that these go too.
    let folders: [(String, String)] = [
      ("bpf", "/sys/fs/bpf"), ("cgroup", "/sys/fs/cgroup"), ("run", "/run"), ("state", "/var/lib"),
    ]
    content.set(
      ["spec", "template", "spec", "volumes"],
      to: .array(folders.map { ["name": .text($0.0), "hostPath": ["path": .text($0.1), "type": "Directory"]] }))
    var manifest = agent
    manifest.identity = identity
    manifest.content = content
    manifest.editContainers { container in
      for part in ["startupProbe", "readinessProbe", "livenessProbe", "ports"] { container.set([part], to: nil) }
      container.set(["args"], to: ["clean"])
      container.set(
        ["volumeMounts"], to: .array(folders.map { ["name": .text($0.0), "mountPath": .text($0.1)] }))
      container.set(["terminationMessagePolicy"], to: "FallbackToLogsOnError")
    }
    return manifest
  }

  /// That of a ready agent: an upgrade that failed may name one that no node can run. nil: none is ready.
  static func image(of agents: [JSONNode]) -> String? {
    agents.lazy.filter { PodTrouble.reason($0) == nil }.compactMap {
      $0["spec"]?["containers"]?.elements.first?["image"]?.text
    }.first
  }

  /// How far it is, by its pods.
  struct State: Hashable, Sendable {
    var cleaned: Set<String> = []
    /// The nodes that it isn't done on, with what is known.
    var waiting: [String: String] = [:]

    init(pods: [JSONNode]) {
      for pod in pods {
        guard let node = pod["spec"]?["nodeName"]?.text, !node.isEmpty else { continue }
        let ends = (pod["status"]?["containerStatuses"]?.elements ?? []).flatMap { status in
          [status["state"]?["terminated"], status["lastState"]?["terminated"]].compactMap { $0 }
        }
        // It is started again whenever it has ended: once done is done.
        if pod["status"]?["phase"]?.text == "Succeeded" || ends.contains(where: { $0["exitCode"]?.integer == 0 }) {
          cleaned.insert(node)
        } else {
          waiting[node] = PodTrouble.reason(pod) ?? "runs still"
        }
      }
    }

    func isDone(daemonSet: JSONNode?) -> Bool {
      guard let daemonSet else { return false }
      let generation = daemonSet["metadata"]?["generation"]?.integer ?? 1
      let status = daemonSet["status"]
      guard status?["observedGeneration"]?.integer ?? 0 >= generation else { return false }
      return cleaned.count >= status?["desiredNumberScheduled"]?.integer ?? 0 && waiting.isEmpty
    }
  }
}
