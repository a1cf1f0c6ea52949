import KubernetesAPI

/// The cluster that is installed into: what install, upgrade and uninstall ask of it and do there, each until a deadline.
struct InstallCluster {
  static let pause = Duration.milliseconds(500)

  var client: KubernetesClient
  var progress: Progress
  var deadline: ContinuousClock.Instant

  init(client: KubernetesClient, progress: Progress, timeout: Duration) {
    self.client = client
    self.progress = progress
    deadline = ContinuousClock.now + timeout
  }

  var isOver: Bool { ContinuousClock.now >= deadline }

  /// The same with all of the time again.
  func again(_ timeout: Duration) -> InstallCluster {
    InstallCluster(client: client, progress: progress, timeout: timeout)
  }

  func version() async throws -> ServerVersion {
    let document = try await asking("its version") { () throws(KubernetesError) in
      try await client.document("/version")
    }
    guard let text = document["gitVersion"]?.text, let version = ServerVersion(text) else {
      throw Failure(message: "\(client.server.url) is no Kubernetes API server.", status: .unreachable)
    }
    guard version >= .oldest else {
      throw Failure(
        message: "Kubernetes \(version) is too old: Weft needs \(ServerVersion.oldest) or newer.", status: .unhealthy)
    }
    return version
  }

  func object(_ identity: Manifest.Identity) async throws -> JSONNode? {
    try await asking("\(identity)") { () throws(KubernetesError) in
      try await client.object(identity.kind.resource(), namespace: identity.namespace, name: identity.name)
    }
  }

  /// What the cluster has in a manifest's place.
  func object(of manifest: Manifest) async throws -> JSONNode? {
    try await asking("\(manifest.identity)") { () throws(KubernetesError) in
      try await client.object(
        manifest.resource, namespace: manifest.identity.namespace, name: manifest.identity.name)
    }
  }

  /// The objects of a kind that belong to an installation.
  func installed(_ resource: KubernetesResource, namespace: String) async throws -> [JSONNode] {
    let query = "?labelSelector=\(Rendering.label)%3D\(Rendering.labelValue)&limit=500"
    return try await list(resource.path(namespace: namespace) + query)
  }

  func pods(of name: String) async throws -> [JSONNode] {
    let pods = KubernetesResource(version: "v1", plural: "pods").path(namespace: Rendering.namespace)
    return try await list("\(pods)?labelSelector=app.kubernetes.io/name%3D\(name)&limit=500")
  }

  /// The names of the nodes that aren't ready.
  /// - Parameter withAgents: only of those that are to have an agent.
  func unreadyNodes(withAgents: Bool = false) async throws -> Set<String> {
    let nodes = try await list("/api/v1/nodes?limit=500").filter {
      AgentNodes.isUnready($0) && !(withAgents && AgentNodes.isLeftOut($0))
    }
    return Set(nodes.map(\.name))
  }

  /// How the pods of a DaemonSet's newest template are labelled; empty: its controller hasn't told yet.
  func revision(of daemonSet: JSONNode) async throws -> String {
    let path = "/apis/apps/v1/namespaces/\(Rendering.namespace)/controllerrevisions?limit=500"
    let uid = daemonSet["metadata"]?["uid"]
    let own = try await list(path).filter { revision in
      (revision["metadata"]?["ownerReferences"]?.elements ?? []).contains { $0["uid"] == uid }
    }
    let newest = own.max { ($0["revision"]?.integer ?? 0) < ($1["revision"]?.integer ?? 0) }
    return newest?.label(Rollout.revisionLabel) ?? ""
  }

  /// All pages; none where the server doesn't know the kind.
  func list(_ path: String) async throws -> [JSONNode] {
    var elements: [JSONNode] = []
    var next = ""
    repeat {
      let page = try await asking(path) { () throws(KubernetesError) in
        do throws(KubernetesError) {
          let separator = path.contains("?") ? "&" : "?"
          return try await client.document(next.isEmpty ? path : "\(path)\(separator)continue=\(next)")
        } catch {
          if case .notFound = error { return [:] }
          throw error
        }
      }
      elements += page["items"]?.elements ?? []
      next = page["metadata"]?["continue"]?.text ?? ""
    } while !next.isEmpty
    return elements
  }

  @discardableResult
  func apply(_ manifest: Manifest, isDry: Bool = false) async throws -> JSONNode {
    try await asking("\(manifest.identity)") { () throws(KubernetesError) in
      try await client.apply(
        manifest.content, as: manifest.resource, namespace: manifest.identity.namespace, name: manifest.identity.name,
        manager: Rendering.manager, isDry: isDry)
    }
  }

  @discardableResult
  func delete(_ resource: KubernetesResource, _ identity: Manifest.Identity) async throws -> Bool {
    try await asking("\(identity)") { () throws(KubernetesError) in
      try await client.delete(resource, namespace: identity.namespace, name: identity.name)
    }
  }

  /// Deletes a pod without waiting for its node to say that it has ended; a node that comes back ends it then.
  func forget(_ pod: JSONNode) async throws {
    _ = try await asking("Pod \(pod.namespace)/\(pod.name)") { () throws(KubernetesError) in
      try await client.delete(
        KubernetesResource(version: "v1", plural: "pods"), namespace: pod.namespace, name: pod.name, graceSeconds: 0)
    }
  }

  /// - Returns: false where the time is over first.
  func wait(until isDone: () async throws -> Bool) async throws -> Bool {
    while try await !isDone() {
      if isOver { return false }
      try await Task.sleep(for: Self.pause)
    }
    return true
  }

  /// Waits out what passes by itself; the rest is a `Failure` that says what was asked for.
  func asking<Value>(
    _ what: String, _ body: () async throws(KubernetesError) -> Value
  ) async throws -> Value {
    while true {
      do throws(KubernetesError) {
        return try await body()
      } catch {
        switch error {
        case .throttled(let seconds) where !isOver:
          progress.show("the API server asks for \(seconds) s of patience")
          try await Task.sleep(for: .seconds(seconds))
        case .refused(_, let message):
          throw Failure(
            message: "\(what): the API server refuses it: \(Text.printable(message)). "
              + "weft check --pre says which rights are missing.", status: .unhealthy)
        case .unreachable(let reason):
          throw Failure(
            message: "The API server \(client.server.url) isn't reachable: \(Text.printable(reason)).",
            status: .unreachable)
        default: throw Failure(message: "\(what): \(Text.printable("\(error)")).", status: .unhealthy)
        }
      }
    }
  }
}
