import NIOHTTP1

/// One object by its name, and changes of it. All check nothing of the content: the API server does.
extension KubernetesClient {
  private static let mergePatch = "application/merge-patch+json"
  /// Its body is YAML, of which JSON is a part.
  private static let applyPatch = "application/apply-patch+yaml"

  /// - Returns: nil where there is none, or the server doesn't know the kind.
  public func object(
    _ resource: KubernetesResource, namespace: String = "", name: String, subresource: String = ""
  ) async throws(KubernetesError) -> JSONNode? {
    do throws(KubernetesError) {
      return try await exchange(.GET, resource.path(namespace: namespace, name: name, subresource: subresource))
    } catch {
      if case .notFound = error { return nil }
      throw error
    }
  }

  /// POST: makes an object, or asks a subresource (`token`, `binding`) of the object `name`.
  /// - Returns: what the server made of it.
  /// - Throws: `.conflict` where there is one of that name.
  @discardableResult
  public func create(
    _ object: JSONNode, as resource: KubernetesResource, namespace: String = "", name: String = "",
    subresource: String = ""
  ) async throws(KubernetesError) -> JSONNode {
    try await exchange(
      .POST, resource.path(namespace: namespace, name: name, subresource: subresource), body: object)
  }

  /// PUT: with `metadata.resourceVersion`, only if the object hasn't changed since.
  /// - Throws: `.conflict` where it has.
  @discardableResult
  public func replace(
    _ object: JSONNode, as resource: KubernetesResource, namespace: String = "", name: String, subresource: String = ""
  ) async throws(KubernetesError) -> JSONNode {
    try await exchange(.PUT, resource.path(namespace: namespace, name: name, subresource: subresource), body: object)
  }

  /// Server-side apply: makes the object, or the fields of it that are given.
  /// - Parameters:
  ///   - manager: owns the fields; those that it applied before and that are missing now are removed.
  ///   - isForced: takes fields over from other managers, in place of `.conflict`.
  ///   - isDry: checked and answered as if, and nothing is stored.
  @discardableResult
  public func apply(
    _ object: JSONNode, as resource: KubernetesResource, namespace: String = "", name: String,
    subresource: String = "", manager: String, isForced: Bool = true, isDry: Bool = false
  ) async throws(KubernetesError) -> JSONNode {
    var query = "fieldManager=\(Self.escaped(manager))&force=\(isForced)"
    if isDry { query += "&dryRun=All" }
    return try await exchange(
      .PATCH, "\(resource.path(namespace: namespace, name: name, subresource: subresource))?\(query)", body: object,
      type: Self.applyPatch)
  }

  /// RFC 7396: `null` removes a member, an array is replaced whole. With `metadata.resourceVersion`, only if the object
  /// hasn't changed since.
  @discardableResult
  public func merge(
    _ patch: JSONNode, into resource: KubernetesResource, namespace: String = "", name: String,
    subresource: String = "", manager: String = "weft"
  ) async throws(KubernetesError) -> JSONNode {
    let path = resource.path(namespace: namespace, name: name, subresource: subresource)
    return try await exchange(
      .PATCH, "\(path)?fieldManager=\(Self.escaped(manager))", body: patch, type: Self.mergePatch)
  }

  /// - Parameters:
  ///   - uid: only if it's that object; empty: whichever has the name.
  ///   - graceSeconds: nil: the object's own.
  /// - Returns: false where there is none.
  @discardableResult
  public func delete(
    _ resource: KubernetesResource, namespace: String = "", name: String, uid: String = "", graceSeconds: Int? = nil
  ) async throws(KubernetesError) -> Bool {
    var options: [JSONNode.Member] = [
      .init(key: "apiVersion", value: "v1"), .init(key: "kind", value: "DeleteOptions"),
      .init(key: "propagationPolicy", value: "Background"),
    ]
    if let graceSeconds { options.append(.init(key: "gracePeriodSeconds", value: .number(String(graceSeconds)))) }
    if !uid.isEmpty { options.append(.init(key: "preconditions", value: ["uid": .text(uid)])) }
    do throws(KubernetesError) {
      _ = try await exchange(.DELETE, resource.path(namespace: namespace, name: name), body: .object(options))
      return true
    } catch {
      if case .notFound = error { return false }
      throw error
    }
  }

  /// A request for a document that isn't a resource's: `/version`, `/apis`.
  public func document(_ path: String) async throws(KubernetesError) -> JSONNode {
    try await exchange(.GET, path)
  }
}
