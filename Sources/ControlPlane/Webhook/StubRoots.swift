import Identity
import KubernetesAPI
import Logging

/// Keeps the ConfigMap of the roots in each namespace that has stubs in tunnel mode: a pod can mount only its own
/// namespace's. Mounted, and not written into the pod, it follows a change of the roots, and manifests that were injected
/// without a cluster work as those of the webhook do.
struct StubRoots: Sendable {
  static let interval = Duration.seconds(1)
  /// After so many intervals everything is looked at again: somebody may have deleted one.
  private static let sweep = 60

  let client: KubernetesClient
  let logger: Logger
  let bundle: @Sendable () -> TrustBundle
  let namespaces: @Sendable () -> Set<String>

  /// Until the task is cancelled.
  func run(isLeader: @Sendable () -> Bool) async {
    var written: [String: String] = [:]
    var failed: Set<String> = []
    var count = 0
    while !Task.isCancelled {
      count += 1
      if count % Self.sweep == 0 || !isLeader() { written = [:] }
      if isLeader() {
        let bundle = bundle()
        for namespace in namespaces().sorted() where written[namespace] != bundle.pem {
          do throws(KubernetesError) {
            try await publish(bundle, in: namespace)
            written[namespace] = bundle.pem
            failed.remove(namespace)
          } catch {
            if failed.insert(namespace).inserted {
              logger.error("the roots can't be kept in the namespace \(namespace), whose stubs wait for them: \(error)")
            }
          }
        }
      }
      try? await Task.sleep(for: Self.interval)
    }
  }

  private func publish(_ bundle: TrustBundle, in namespace: String) async throws(KubernetesError) {
    let found = try await client.object(
      AuthoritySecret.configMaps, namespace: namespace, name: AuthoritySecret.rootsName)
    guard found?["data"]?["ca.pem"]?.text != bundle.pem else { return }
    try await client.apply(
      AuthoritySecret.roots(bundle, namespace: namespace), as: AuthoritySecret.configMaps, namespace: namespace,
      name: AuthoritySecret.rootsName, manager: ClusterNames.manager)
    logger.info("wrote the roots for the stubs of a namespace", metadata: ["namespace": "\(namespace)"])
  }
}
