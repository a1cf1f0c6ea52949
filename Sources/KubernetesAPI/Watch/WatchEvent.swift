/// One line of a watch (Kubernetes API concepts, "Efficient detection of changes").
public enum WatchEvent: Hashable, Sendable {
  case changed(KubernetesObject)
  case deleted(KubernetesObject)
  /// Nothing up to that version concerns the watch.
  case bookmark(String)
  case failed(KubernetesError)

  /// - Parameter selection: what of the object is read.
  /// - Throws: `KubernetesError.malformed`
  public init(line: [UInt8], reading selection: JSONSelection = .all) throws(KubernetesError) {
    let event: JSONNode
    do {
      // An error is a Status in the object's place.
      let object = selection.adding(["code", "message"])
      event = try JSONReader.read(
        line, .members(["type": .all, "object": object]), skipping: KubernetesObject.skipped)
    } catch {
      throw .malformed("an event: \(error)")
    }
    guard let object = event["object"] else { throw .malformed("an event without an object") }
    switch event["type"]?.text {
    case "ADDED", "MODIFIED": self = .changed(try KubernetesObject(object))
    case "DELETED": self = .deleted(try KubernetesObject(object))
    case "BOOKMARK":
      guard let version = object["metadata"]?["resourceVersion"]?.text else {
        throw .malformed("a bookmark without a resourceVersion")
      }
      self = .bookmark(version)
    case "ERROR":
      self = .failed(KubernetesError(status: object["code"]?.integer ?? 500, body: object.bytes, retryAfter: nil))
    case let type: throw .malformed("an event of the type \((type ?? "").prefix(40).debugDescription)")
    }
  }
}

/// An object as the API server tells it, without what nobody reads.
public struct KubernetesObject: Hashable, Sendable {
  /// Half of an object's bytes, and of no use to a reader.
  public static let skipped: Set<String> = ["managedFields", "kubectl.kubernetes.io/last-applied-configuration"]

  public let content: JSONNode
  /// Empty: cluster-scoped.
  public let namespace: String
  public let name: String
  public let resourceVersion: String

  /// - Throws: `KubernetesError.malformed` where it has no name or version.
  public init(_ content: JSONNode) throws(KubernetesError) {
    let metadata = content["metadata"]
    guard let name = metadata?["name"]?.text, let version = metadata?["resourceVersion"]?.text else {
      throw .malformed("an object without a name or a resourceVersion")
    }
    self.content = content
    self.name = name
    namespace = metadata?["namespace"]?.text ?? ""
    resourceVersion = version
  }
}
