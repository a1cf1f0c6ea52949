import MeshModel

/// Decodes one object of a known kind.
struct ObjectDecoder {
  let root: Field
  let kind: Kind

  typealias Decoded = (object: MeshObject, name: ObjectName, note: String)

  func decode() throws(ConfigProblem) -> Decoded {
    switch kind {
    case .pod:
      let fields = try root.fields(Schemas.pod)
      let metadata = try metadata(fields)
      guard metadata.name.description.utf8.count <= 253 else {
        throw root.problem("its namespace and name together have more than 252 bytes")
      }
      return (.pod(try PodDecoder(metadata: metadata).decode(fields)), metadata.name, "")
    case .service:
      let fields = try root.fields(Schemas.service)
      let metadata = try metadata(fields, isLabel: true)
      let (service, note) = try ServiceDecoder(fields: fields).decode()
      return (.service(service), metadata.name, note)
    case .endpointSlice:
      let fields = try root.fields(Schemas.endpointSlice)
      let metadata = try metadata(fields)
      let (slice, note) = try EndpointSliceDecoder(fields: fields, metadata: metadata).decode()
      return (.endpointSlice(slice), metadata.name, note)
    case .namespace:
      let metadata = try metadata(try root.fields(Schemas.namespace), isLabel: true)
      return (.namespace(NamespaceObject(enrolment: try metadata.enrolment())), metadata.name, "")
    case .serviceAccount:
      return (.named, try metadata(try root.fields(Schemas.serviceAccount)).name, "")
    case .node:
      let fields = try root.fields(Schemas.node)
      _ = try fields["spec"]?.fields(Schemas.nodeSpec)
      return (.named, try metadata(fields).name, "")
    case .peerAuthentication:
      let fields = try root.fields(Schemas.peerAuthentication)
      let metadata = try metadata(fields)
      return (.peerAuthentication(try peerAuthentication(fields, metadata)), metadata.name, "")
    }
  }

  private func metadata(_ fields: Fields, isLabel: Bool = false) throws(ConfigProblem) -> ObjectMetadata {
    let metadata = try fields.required("metadata").fields(Schemas.metadata)
    let nameField = try metadata.required("name")
    let name = isLabel ? try nameField.label() : try nameField.subdomain()
    var namespace = kind.isClusterScoped ? "" : "default"
    if let field = metadata["namespace"] {
      guard !kind.isClusterScoped else { throw field.problem("a \(kind.rawValue) belongs to no namespace") }
      namespace = try field.label()
    }
    return ObjectMetadata(
      name: ObjectName(namespace, name), labelsField: metadata["labels"],
      labels: try metadata["labels"]?.textMap() ?? [:], isBeingDeleted: metadata["deletionTimestamp"] != nil,
      nameField: nameField, namespaceField: metadata["namespace"])
  }

  /// The namespace and name under which a PeerAuthentication holds for the whole mesh.
  static let meshWide = ObjectName("weft-system", "default")

  private func peerAuthentication(
    _ fields: Fields, _ metadata: ObjectMetadata
  ) throws(ConfigProblem) -> PeerAuthenticationObject {
    guard metadata.name.namespace == Self.meshWide.namespace else {
      throw (metadata.namespaceField ?? metadata.nameField).problem(
        "not supported yet: Weft takes one PeerAuthentication for the whole mesh, \(Self.meshWide)")
    }
    guard metadata.name == Self.meshWide else {
      throw metadata.nameField.problem(
        "not supported yet: Weft takes one PeerAuthentication for the whole mesh, \(Self.meshWide)")
    }
    let spec = try fields.required("spec").fields(Schemas.peerAuthenticationSpec)
    for name in ["selector", "portLevelMtls"] {
      if let field = spec[name] { throw field.problem("not supported yet: the setting holds for the whole mesh") }
    }
    let mode = try spec.required("mtls").fields(Schemas.mutualTLS).required("mode")
    if try mode.text() == "DISABLE" { throw mode.problem("not supported yet; STRICT and PERMISSIVE are") }
    return PeerAuthenticationObject(
      mutualTLS: try mode.choice(["STRICT": MeshConfig.MutualTLS.strict, "PERMISSIVE": .permissive]))
  }
}

/// What Weft reads of an object's metadata.
struct ObjectMetadata {
  var name: ObjectName
  var labelsField: Field?
  var labels: [String: String]
  var isBeingDeleted: Bool
  var nameField: Field
  var namespaceField: Field?

  /// The label `weft.dev/mesh`.
  func enrolment() throws(ConfigProblem) -> Enrolment {
    guard let field = labelsField?.entry("weft.dev/mesh") else { return .unsaid }
    return try field.choice(["enabled": Enrolment.enabled, "disabled": .disabled])
  }

  /// The label `weft.dev/fail-mode`.
  func failMode() throws(ConfigProblem) -> Workload.FailMode {
    guard let field = labelsField?.entry("weft.dev/fail-mode") else { return .closed }
    return try field.choice(["closed": Workload.FailMode.closed, "open": .open])
  }
}
