import Discovery
import Identity
import KubernetesAPI
import MeshModel

/// With an API server: it has the objects, keeps the CA, and says who asks to join.
extension ControlPlane {
  func run(_ server: APIServer) async throws {
    let client = try KubernetesClient(server)
    let store = AuthorityStore(
      client: client, namespace: configuration.namespace, trustDomain: configuration.trustDomain, logger: logger)
    let opened = Opened()
    try await withThrowingTaskGroup(of: Void.self) { group in
      defer { group.cancelAll() }
      group.addTask { try await self.answerProbes() }
      group.addTask { await self.follow(client, opened) }
      group.addTask { await self.keepLastGood(client, opened) }
      group.addTask {
        opened.authority = await store.open()
        self.beginIfComplete(opened)
      }
      guard try await begin(&group), let authority = opened.authority else { return }
      try await serve(authority, client, store, &group)
    }
    await client.shutdown()
  }

  /// Serves, and writes what the leader writes, until `shutdown()`.
  private func serve(
    _ authority: CertificateAuthority, _ client: KubernetesClient, _ store: AuthorityStore,
    _ group: inout ThrowingTaskGroup<Void, any Error>
  ) async throws {
    let (writing, mesh) = (writing, mesh)
    let leadership = Leadership(
      client: client, namespace: configuration.namespace, replica: configuration.replica, logger: logger,
      onChange: { writing.leads(mesh) })
    let recorder = EventRecorder(client: client, replica: configuration.replica, logger: logger)
    let reports = ReplicaReports(
      client: client, namespace: configuration.namespace, replica: configuration.replica,
      isLeader: { leadership.isLeader }, logger: logger,
      own: { [cache] in cache.deliveries(of: Kind.statusTypes) }, onChange: { writing.touch() })
    let writer = StatusWriter(
      client: client, mesh: mesh, isLeader: { leadership.isLeader }, logger: logger, deliveries: { reports.all })
    writing.use(leadership, writer, recorder)
    let namespace = configuration.namespace
    let server = try serve(
      authority, attestation(client), isNode: { mesh.hasNode($0) },
      onRefusal: { node, error in
        if let pod = error.pod { EventText(pod: pod, error).map(recorder.record) }
        // Only of nodes that there are: anybody may call.
        if error.kind != .unavailable, mesh.hasNode(node) { recorder.record(EventText(node: node, error)) }
      },
      onPodProblem: { node, pod in EventText(pod, node: node).map(recorder.recordOfNode) ?? true },
      onNodeStatus: { node in
        writer.touch()
        for rejected in node.nacked { EventText(rejected, node: node.node).map(recorder.record) }
      })
    let election = Task { await leadership.run() }
    group.addTask { await writer.run() }
    let telling = Task { await reports.run() }
    group.addTask { await recorder.run() }
    group.addTask {
      await store.follow(
        authority, isLeader: { leadership.isLeader },
        report: { recorder.record(EventText(authority: $0, $1, namespace: namespace)) })
    }
    group.addTask { try await self.answerReviews(client, authority) }
    let roots = StubRoots(
      client: client, logger: logger, bundle: { authority.trustBundle },
      namespaces: { mesh.tunnelNamespaces.subtracting([namespace]) })
    group.addTask { await roots.run(isLeader: { leadership.isLeader }) }
    group.addTask { await self.announce(server) }
    let ended: Result<Void, any Error>
    do {
      ended = .success(try await server.run())
    } catch {
      ended = .failure(error)
    }
    // Another replica leads at once, not after the Lease has run out.
    election.cancel()
    await election.value
    await leadership.release()
    telling.cancel()
    await telling.value
    await reports.leave()
    try ended.get()
  }

  /// Follows the API server's objects until the task is cancelled.
  private func follow(_ client: KubernetesClient, _ opened: Opened) async {
    logger.info("reading the objects of \(client.server.url)")
    await KubernetesSource(client: client, logger: logger).run { news, kind in
      let outcome = self.mesh.take(news, of: kind)
      self.report(outcome)
      self.writing.took(outcome, self.mesh)
      self.beginIfComplete(opened)
    }
  }

  /// Keeps what every replica falls back to where an object is refused.
  private func keepLastGood(_ client: KubernetesClient, _ opened: Opened) async {
    let (mesh, writing) = (mesh, writing)
    await LastGoodStore(client: client, namespace: configuration.namespace, logger: logger).run(
      isLeader: { writing.isLeader }, mayGoWithout: { mesh.hasEveryKind }, wanted: { mesh.keeps },
      take: { kept in
        let outcome = mesh.take(kept: kept)
        self.report(outcome)
        writing.took(outcome, mesh)
        self.beginIfComplete(opened)
      })
  }

  /// Nodes must never be served a part.
  private func beginIfComplete(_ opened: Opened) {
    if mesh.isComplete, opened.authority != nil { begins.yield(true) }
  }

  /// Waits until all has been told and the CA is open.
  /// - Returns: false: it is to shut down.
  private func begin(_ group: inout ThrowingTaskGroup<Void, any Error>) async throws -> Bool {
    for await begins in beginnings { return begins && !Task.isCancelled }
    return false
  }

  /// Serves the injector's webhook.
  private func answerReviews(_ client: KubernetesClient, _ authority: CertificateAuthority) async throws {
    guard let port = configuration.webhookPort else { return }
    var settings = configuration.injection
    settings.meshNamespace = configuration.namespace
    settings.clusterDomain = configuration.clusterDomain
    settings.trustDomain = configuration.trustDomain.name
    let webhook = Webhook(
      client: client, authority: authority, logger: logger, namespace: configuration.namespace, settings: settings,
      hasNativeSidecars: configuration.hasNativeSidecars)
    do {
      try await webhook.run(
        host: configuration.server.host, port: port, further: configuration.server.advertise,
        lifetime: configuration.server.certificateLifetime)
    } catch {
      // The rest serves on; what new pods get then is the webhook's failure policy.
      logger.error("no webhook: \(error)")
    }
  }

  private func attestation(_ client: KubernetesClient) -> any NodeAttestation {
    let mesh = mesh
    let reviews = TokenReviewAttestation(
      client: client, trustDomain: configuration.trustDomain, namespace: configuration.namespace,
      standing: { mesh.standing(namespace: $0, pod: $1, uid: $2) })
    guard let tokens else { return reviews }
    return EitherAttestation(tokens: tokens, reviews: reviews)
  }
}

/// Join tokens for what is outside of the cluster, and accounts' tokens for what is in it.
private struct EitherAttestation: NodeAttestation {
  let tokens: JoinTokenAttestation
  let reviews: TokenReviewAttestation

  func attest(token: String, node: String) async throws(AttestationError) -> CertificateSubject {
    if TokenReview.isToken(token) { return try await reviews.attest(token: token, node: node) }
    return try await tokens.attest(token: token, node: node)
  }
}
