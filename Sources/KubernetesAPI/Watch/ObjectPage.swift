/// A page of a list.
public struct ObjectPage: Hashable, Sendable {
  public var objects: [KubernetesObject]
  /// Of the whole list.
  public var resourceVersion: String
  /// Empty: this was the last one.
  public var next: String

  /// - Parameter selection: what of each object is read.
  /// - Throws: `KubernetesError.malformed`
  public init(body: some Collection<UInt8>, reading selection: JSONSelection = .all) throws(KubernetesError) {
    let list: JSONNode
    do {
      list = try JSONReader.read(
        body, .members(["metadata": .all, "items": selection]), skipping: KubernetesObject.skipped)
    } catch {
      throw .malformed("a list: \(error)")
    }
    guard let metadata = list["metadata"], let version = metadata["resourceVersion"]?.text, case .array? = list["items"]
    else { throw .malformed("a list without items or a resourceVersion") }
    var objects: [KubernetesObject] = []
    for item in list["items"]?.elements ?? [] { objects.append(try KubernetesObject(item)) }
    self.objects = objects
    resourceVersion = version
    next = metadata["continue"]?.text ?? ""
  }
}
