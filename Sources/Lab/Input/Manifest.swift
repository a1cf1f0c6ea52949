import MeshModel

/// One object of one file: who it is, and everything that stands in it.
struct Manifest: Sendable {
  struct Key: Hashable, Sendable, Comparable, CustomStringConvertible {
    var kind: String
    /// Empty for kinds without a namespace.
    var namespace: String
    var name: String

    var description: String {
      namespace.isEmpty ? "\(kind) \(name)" : "\(kind) \(namespace)/\(name)"
    }

    /// The file in the control plane's folder.
    var fileName: String {
      [kind.lowercased(), namespace, name].filter { !$0.isEmpty }.joined(separator: "_") + ".yaml"
    }

    static func < (left: Self, right: Self) -> Bool {
      (left.kind, left.namespace, left.name) < (right.kind, right.namespace, right.name)
    }
  }

  let key: Key
  let object: YAMLValue
  let file: String

  var root: Field { Field(file: file, object: object) }

  private static let clusterKinds: Set<String> = ["Node", "Namespace", "GatewayClass", "MeshConfig"]
  /// The API groups whose kinds the control plane may know; it, not the lab, judges their fields.
  private static let meshGroups: Set<String> = ["weft.dev", "gateway.networking.k8s.io"]
  private static let coreKinds: [String: Set<String>] = [
    "v1": ["Node", "Namespace", "Pod", "Service", "ServiceAccount"],
    "discovery.k8s.io/v1": ["EndpointSlice"],
  ]
  private static let metadataFields: Set<String> = [
    "name", "namespace", "labels", "annotations", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences", "finalizers", "generateName",
    "managedFields", "selfLink",
  ]

  /// - Throws: `LabError` naming file, line and field.
  init(_ object: YAMLValue, file: String) throws {
    let root = Field(file: file, object: object)
    guard case .map = object.content else { throw root.error("expected an object, found \(object.kindName)") }
    let version = try root["apiVersion"].required(root["apiVersion"].string())
    let kind = try root["kind"].required(root["kind"].string())
    let group = version.split(separator: "/").first.map(String.init) ?? ""
    guard Self.coreKinds[version]?.contains(kind) == true || Self.meshGroups.contains(group) && version != group else {
      throw root["kind"].error(
        "the lab doesn't know \(kind) of \(version); it takes Node, Namespace, Pod, Service, ServiceAccount,"
          + " EndpointSlice and the kinds of weft.dev")
    }
    let metadata = root["metadata"]
    _ = try metadata.map(known: Self.metadataFields)
    let name = try metadata["name"].required(metadata["name"].string())
    guard DNSName.isSubdomain(name) else {
      throw metadata["name"].error("\"\(name)\" is no DNS name: lower-case letters, digits, - and .")
    }
    var namespace = try metadata["namespace"].string() ?? ""
    if Self.clusterKinds.contains(kind) {
      guard namespace.isEmpty else { throw metadata["namespace"].error("a \(kind) has no namespace") }
    } else {
      if namespace.isEmpty { namespace = "default" }
      guard DNSName.isLabel(namespace) else {
        throw metadata["namespace"].error("\"\(namespace)\" is no DNS label: lower-case letters, digits and -")
      }
    }
    _ = try metadata["labels"].stringMap()
    _ = try metadata["annotations"].stringMap()
    self.init(key: Key(kind: kind, namespace: namespace, name: name), object: object, file: file)
  }

  init(key: Key, object: YAMLValue, file: String) {
    self.key = key
    self.object = object
    self.file = file
  }

  var labels: [String: String] {
    // The initialiser has read them once.
    (try? root["metadata"]["labels"].stringMap()) ?? [:]
  }
}
