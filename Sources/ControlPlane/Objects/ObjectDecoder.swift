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
      var (service, note) = try ServiceDecoder(fields: fields).decode()
      service.protocols = try metadata.protocols(of: service)
      return (.service(service), metadata.name, note)
    case .endpointSlice:
      let fields = try root.fields(Schemas.endpointSlice)
      let metadata = try metadata(fields)
      let (slice, note) = try EndpointSliceDecoder(fields: fields, metadata: metadata).decode()
      return (.endpointSlice(slice), metadata.name, note)
    case .namespace:
      let metadata = try metadata(try root.fields(Schemas.namespace), isLabel: true)
      let namespace = NamespaceObject(enrolment: try metadata.enrolment(), appProtocol: try metadata.appProtocol())
      return (.namespace(namespace), metadata.name, "")
    case .serviceAccount:
      return (.named, try metadata(try root.fields(Schemas.serviceAccount)).name, "")
    case .node:
      let fields = try root.fields(Schemas.node)
      _ = try fields["spec"]?.fields(Schemas.nodeSpec)
      let metadata = try metadata(fields)
      return (.node(try metadata.topology()), metadata.name, "")
    case .httpRoute, .grpcRoute, .tcpRoute, .tlsRoute:
      let fields = try root.fields(Schemas.route)
      let metadata = try metadata(fields)
      guard let kind = kind.route else { throw root.problem("is no route") }
      let (route, note) = try RouteDecoder(kind: kind, metadata: metadata).decode(fields)
      return (.route(route), metadata.name, note)
    case .referenceGrant:
      let fields = try root.fields(Schemas.referenceGrant)
      return (.referenceGrant(try ReferenceGrantDecoder.decode(fields)), try metadata(fields).name, "")
    case .trafficPolicy:
      let fields = try root.fields(Schemas.trafficPolicy)
      let metadata = try metadata(fields)
      return (.trafficPolicy(try TrafficPolicyDecoder(metadata: metadata).decode(fields)), metadata.name, "")
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
      nameField: nameField, namespaceField: metadata["namespace"], annotationsField: metadata["annotations"],
      createdField: metadata["creationTimestamp"], uidField: metadata["uid"])
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
