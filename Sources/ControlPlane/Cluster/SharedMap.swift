import KubernetesAPI

/// A ConfigMap of texts that the replicas share, each writing keys of its own or all of them the same.
struct SharedMap: Sendable {
  private static let resource = KubernetesResource(version: "v1", plural: "configmaps")

  let client: KubernetesClient
  let namespace: String
  let name: String

  /// Empty where there is none.
  func read() async throws(KubernetesError) -> [String: String] {
    let map = try await client.object(Self.resource, namespace: namespace, name: name)
    guard case .object(let members)? = map?["data"] else { return [:] }
    return members.reduce(into: [:]) { $0[$1.key] = $1.value.text ?? "" }
  }

  /// - Parameters:
  ///   - creates: where there is no such ConfigMap; else nothing is written then.
  func write(_ texts: [String: String], removing keys: [String] = [], creates: Bool) async throws(KubernetesError) {
    var members = texts.map { JSONNode.Member(key: $0.key, value: .text($0.value)) }
    for key in keys { members.append(JSONNode.Member(key: key, value: .null)) }
    let data = JSONNode.object(members)
    do throws(KubernetesError) {
      try await client.merge(
        ["data": data], into: Self.resource, namespace: namespace, name: name, manager: ClusterNames.manager)
    } catch {
      guard case .notFound = error else { throw error }
      guard creates else { return }
      try await client.create(
        [
          "apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": .text(name), "namespace": .text(namespace)],
          "data": data,
        ], as: Self.resource, namespace: namespace)
    }
  }
}
