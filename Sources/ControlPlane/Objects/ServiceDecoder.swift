import MeshModel

struct ServiceDecoder {
  let fields: Fields

  /// Ports of one Service; the bound of a Service resource.
  static let maximumPorts = 1000

  /// The Service, and what of it has no effect.
  func decode() throws(ConfigProblem) -> (ServiceObject, note: String) {
    let spec = try fields.required("spec").fields(Schemas.serviceSpec)
    var service = ServiceObject()
    service.selector = try spec["selector"]?.textMap() ?? [:]
    service.publishNotReadyAddresses = try spec["publishNotReadyAddresses"]?.truth() ?? false
    service.hasClientAffinity = try spec["sessionAffinity"]?.choice(["None": false, "ClientIP": true]) ?? false
    service.isExternalName =
      try spec["type"]?.choice([
        "ClusterIP": false, "NodePort": false, "LoadBalancer": false, "ExternalName": true,
      ]) ?? false
    _ = try spec["externalName"]?.text()
    let addressing = try decodeAddresses(spec, into: &service)
    let skipped = try decodePorts(spec, into: &service)
    if service.isExternalName {
      return (service, "ignored: names outside the cluster (ExternalName) are not supported yet")
    }
    var notes: [String] = []
    if addressing == .missing {
      notes.append("has no clusterIP: its name resolves to its endpoints' addresses, as if it were headless")
    }
    if skipped > 0 { notes.append("\(skipped) of its ports are SCTP, which Weft does not carry") }
    return (service, notes.joined(separator: "; "))
  }

  private enum Addressing { case given, headless, missing }

  private func decodeAddresses(_ spec: Fields, into service: inout ServiceObject) throws(ConfigProblem) -> Addressing {
    var list = try spec.list("clusterIPs")
    if let first = spec["clusterIP"] { list.insert(first, at: 0) }
    var isHeadless = false
    for field in list {
      let text = try field.text()
      if text == "None" {
        isHeadless = true
      } else if !text.isEmpty {
        guard let address = IPAddress(text), !address.isUnspecified else {
          throw field.expected("an IP address or None")
        }
        service.addresses.append(address)
      }
    }
    service.addresses = service.addresses.firstOfEachFamily
    if isHeadless {
      guard service.addresses.isEmpty else { throw list[0].problem("names both None and an address") }
      return .headless
    }
    return service.addresses.isEmpty ? .missing : .given
  }

  /// How many ports were left out.
  private func decodePorts(_ spec: Fields, into service: inout ServiceObject) throws(ConfigProblem) -> Int {
    let list = try spec.list("ports")
    guard list.count <= Self.maximumPorts else { throw list[0].problem("more than \(Self.maximumPorts) ports") }
    var seen: Set<String> = []
    var names: Set<String> = []
    var skipped = 0
    for field in list {
      let fields = try field.fields(Schemas.servicePort)
      let number = try fields.required("port").port()
      let name = try fields["name"]?.label() ?? ""
      if name.isEmpty, list.count > 1 { throw field.problem("has no name; each of several ports needs one") }
      guard names.insert(name).inserted else { throw field.problem("the port name \"\(name)\" stands twice") }
      let target = try fields["targetPort"]?.portOrName() ?? .number(number)
      let appProtocol = try fields["appProtocol"]?.text() ?? ""
      guard let transport = try fields.transport() else {
        skipped += 1
        continue
      }
      guard seen.insert("\(number)/\(transport)").inserted else {
        throw field.problem("the port \(number) stands twice with the same protocol")
      }
      service.ports.append(
        ServiceObject.Port(
          port: number, name: name, appProtocol: appProtocol, transport: transport, target: target))
    }
    return skipped
  }
}

struct EndpointSliceDecoder {
  let fields: Fields
  let metadata: ObjectMetadata

  /// Kubernetes' own bound.
  static let maximumEndpoints = 1000

  func decode() throws(ConfigProblem) -> (EndpointSliceObject, note: String) {
    // Its workloads' ids hold it beside the namespace and an address, in 253 bytes.
    guard metadata.name.name.utf8.count <= 128 else { throw metadata.nameField.problem("has more than 128 bytes") }
    var slice = EndpointSliceObject()
    let family = try fields.required("addressType").choice([
      "IPv4": IPAddress.Family.v4, "IPv6": .v6, "FQDN": nil,
    ])
    guard let family else { return (slice, "ignored: endpoints by name (FQDN) are not supported yet") }
    let list = try fields.list("endpoints")
    guard list.count <= Self.maximumEndpoints else {
      throw list[0].problem("more than \(Self.maximumEndpoints) endpoints")
    }
    for field in list { try decode(field, family, into: &slice) }
    for field in try fields.list("ports") {
      let port = try field.fields(Schemas.endpointPort)
      // Without a number it stands for every port, which no Service has.
      guard let transport = try port.transport(), !field.isFromServer || port["port"] != nil else { continue }
      slice.ports.append(
        EndpointSliceObject.Port(
          name: try port["name"]?.optionalLabel() ?? "", port: try port.required("port").port(), transport: transport))
    }
    guard slice.ports.count <= ServiceDecoder.maximumPorts else {
      throw fields.parent.problem("more than \(ServiceDecoder.maximumPorts) ports")
    }
    guard let service = metadata.labelsField?.entry("kubernetes.io/service-name") else {
      return (slice, "ignored: no label kubernetes.io/service-name says which Service it belongs to")
    }
    slice.service = try service.label()
    return (slice, "")
  }

  private func decode(
    _ field: Field, _ family: IPAddress.Family, into slice: inout EndpointSliceObject
  ) throws(ConfigProblem) {
    let endpoint = try field.fields(Schemas.endpoint)
    let conditions = try endpoint["conditions"]?.fields(Schemas.endpointConditions)
    let isReady = try conditions?["ready"]?.truth() ?? true
    let hostname = try endpoint["hostname"]?.label() ?? ""
    let node = try endpoint["nodeName"]?.subdomain() ?? ""
    let zone = try endpoint["zone"]?.line(0...63) ?? ""
    let isDraining = try conditions?["terminating"]?.truth() ?? false
    // All addresses of one endpoint are the same endpoint: Kubernetes' consumers use the first.
    guard let addressField = try endpoint.required("addresses").list().first else {
      throw field.problem("has no address")
    }
    let address = try addressField.address()
    guard address.family == family else {
      throw addressField.problem("\(address) is not of the slice's addressType")
    }
    if let index = slice.endpoints.firstIndex(where: { $0.address == address }) {
      guard field.isFromServer else { throw addressField.problem("\(address) stands twice in the slice") }
      // Two pods in one node's network: ready where one of them is.
      if isReady { slice.endpoints[index].isReady = true }
      return
    }
    slice.endpoints.append(
      EndpointSliceObject.Endpoint(
        address: address, isReady: isReady, hostname: hostname, node: node, zone: zone,
        isDraining: isDraining))
  }
}

extension Field {
  /// A label, or empty text.
  fileprivate func optionalLabel() throws(ConfigProblem) -> String {
    if case .scalar("", _) = node.content { "" } else { try label() }
  }
}
