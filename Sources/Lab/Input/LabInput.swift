import MeshModel

/// Everything that a lab is made from: read, checked, and consistent as a whole.
struct LabInput: Sendable {
  /// The folder that the commands run in.
  let directory: String
  private(set) var manifests: [Manifest.Key: Manifest] = [:]
  private(set) var nodes: [String] = []
  private(set) var pods: [Manifest.Key: PodManifest] = [:]
  private(set) var services: [Manifest.Key: ServiceManifest] = [:]

  static let meshLabel = "weft.dev/mesh"
  /// The agent's socket path holds the name and must fit `sockaddr_un`.
  static let maximumNodeNameBytes = 48
  static let maximumNodes = 200
  /// Those that are there without an object: Kubernetes makes the first, the mesh's installation the second.
  static let givenNamespaces: Set<String> = ["default", "weft-system"]
  static let maximumPodsPerNode = 250

  /// - Parameter checksCommands: whether the pods' programs must be on this machine.
  /// - Throws: `LabError` naming file, line and field of what is duplicate, unknown, missing or out of bounds.
  init(directory: String, manifests list: [Manifest], checksCommands: Bool = true) throws {
    self.directory = directory
    for manifest in list {
      if let first = manifests[manifest.key] {
        throw manifest.root["metadata"]["name"].error(
          "\(manifest.key) stands twice, first at \(first.file):\(first.object.line)")
      }
      manifests[manifest.key] = manifest
      switch manifest.key.kind {
      case "Node": try add(node: manifest)
      case "Pod": pods[manifest.key] = try PodManifest(manifest)
      case "Service": services[manifest.key] = try ServiceManifest(manifest)
      default: break
      }
    }
    try checkReferences()
    guard checksCommands else { return }
    for pod in pods.values.sorted(by: { $0.manifest.key < $1.manifest.key }) {
      try Commands.check(pod, directory: directory)
    }
  }

  private mutating func add(node manifest: Manifest) throws {
    let name = manifest.key.name
    let field = manifest.root["metadata"]["name"]
    guard name.utf8.count <= Self.maximumNodeNameBytes else {
      throw field.error("a Node's name has at most \(Self.maximumNodeNameBytes) bytes in the lab")
    }
    // `weft-LAB-p7` is the namespace of a pod.
    guard name.first != "p" || Int(name.dropFirst()) == nil else {
      throw field.error("\"\(name)\" is kept for a pod's namespace; name the Node otherwise")
    }
    nodes.append(name)
    guard nodes.count <= Self.maximumNodes else { throw field.error("at most \(Self.maximumNodes) Nodes in a lab") }
  }

  private func checkReferences() throws {
    guard !nodes.isEmpty else { throw LabError("\(directory): holds no Node; a lab needs at least one") }
    var counts: [String: Int] = [:]
    for pod in pods.values.sorted(by: { $0.manifest.key < $1.manifest.key }) {
      let node = pod.manifest.root["spec"]["nodeName"]
      guard nodes.contains(pod.nodeName) else {
        throw node.error("there is no Node \"\(pod.nodeName)\"; there is \(nodes.joined(separator: ", "))")
      }
      counts[pod.nodeName, default: 0] += 1
      guard counts[pod.nodeName, default: 0] <= Self.maximumPodsPerNode else {
        throw node.error("at most \(Self.maximumPodsPerNode) pods on one Node of the lab")
      }
    }
    for manifest in manifests.values.sorted(by: { $0.key < $1.key }) {
      let namespace = manifest.key.namespace
      guard namespace.isEmpty || Self.givenNamespaces.contains(namespace) || hasNamespace(namespace) else {
        throw manifest.root["metadata"]["namespace"].error("there is no Namespace \"\(namespace)\"; add the object")
      }
    }
    try checkServiceAddresses()
  }

  private func hasNamespace(_ name: String) -> Bool {
    manifests[Manifest.Key(kind: "Namespace", namespace: "", name: name)] != nil
  }

  private func checkServiceAddresses() throws {
    var owners: [IPAddress: Manifest.Key] = [:]
    for service in services.values.sorted(by: { $0.manifest.key < $1.manifest.key }) {
      for address in service.addresses {
        let field = service.manifest.root["spec"]["clusterIP"]
        if let owner = owners[address] { throw field.error("\(address) is the address of \(owner) too") }
        guard !AddressPlan.isReserved(address) else {
          throw field.error("\(address) lies in the range of the lab's nodes, pods or DNS server")
        }
        owners[address] = service.manifest.key
      }
    }
  }

  /// Whether the mesh captures this pod, by the rule of the control plane: the pod's label, else its Namespace's.
  func isMeshed(_ pod: PodManifest) -> Bool {
    switch pod.manifest.labels[Self.meshLabel] {
    case "enabled": true
    case "disabled": false
    default:
      manifests[Manifest.Key(kind: "Namespace", namespace: "", name: pod.manifest.key.namespace)]?
        .labels[Self.meshLabel] == "enabled"
    }
  }
}
