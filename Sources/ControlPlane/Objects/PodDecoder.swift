import MeshModel

struct PodDecoder {
  let metadata: ObjectMetadata

  func decode(_ fields: Fields) throws(ConfigProblem) -> PodObject {
    var pod = PodObject()
    pod.labels = metadata.labels
    pod.enrolment = try metadata.enrolment()
    pod.failMode = try metadata.failMode()
    pod.weight = try metadata.weight()
    pod.uid = try metadata.podUID()
    pod.mode = try metadata.mode()
    try decodeSpec(try fields.required("spec").fields(Schemas.podSpec), into: &pod)
    if let status = fields["status"] { try decodeStatus(status, into: &pod) }
    if metadata.isBeingDeleted {
      pod.isReady = false
      pod.isDraining = true
    }
    return pod
  }

  private func decodeSpec(_ spec: Fields, into pod: inout PodObject) throws(ConfigProblem) {
    if let account = spec["serviceAccountName"] ?? spec["serviceAccount"] {
      pod.serviceAccount = try account.subdomain()
    }
    pod.node = try spec["nodeName"]?.subdomain() ?? ""
    pod.usesHostNetwork = try spec["hostNetwork"]?.truth() ?? false
    pod.hostname = try spec["hostname"]?.label() ?? ""
    pod.subdomain = try spec["subdomain"]?.label() ?? ""
    var probePorts: Set<UInt16> = []
    for container in try spec.list("containers") {
      try decode(container, isInit: false, into: &pod, probePorts: &probePorts)
    }
    for container in try spec.list("initContainers") {
      try decode(container, isInit: true, into: &pod, probePorts: &probePorts)
    }
    pod.probePorts = probePorts.sorted()
  }

  private func decode(
    _ field: Field, isInit: Bool, into pod: inout PodObject, probePorts: inout Set<UInt16>
  ) throws(ConfigProblem) {
    let container = try field.fields(Schemas.container)
    _ = try container["name"]?.label()
    var ports: [PodObject.NamedPort] = []
    for portField in try container.list("ports") {
      let port = try portField.fields(Schemas.containerPort)
      let number = try port.required("containerPort").port()
      let transport = try port.transport()
      if let name = try port["name"]?.label(), let transport {
        ports.append(PodObject.NamedPort(name: name, port: number, transport: transport))
      }
    }
    // An init container is gone when the pod serves, unless it is a sidecar (restartPolicy Always).
    let restartPolicy = try container["restartPolicy"]?.text()
    let stays = !isInit || restartPolicy == "Always"
    if stays { pod.ports += ports }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
      guard let port = try probePort(container[name], ports), stays else { continue }
      probePorts.insert(port)
    }
    // The bound of a Workload resource.
    guard probePorts.count <= 64 else { throw field.problem("the pod's probes name more than 64 ports") }
  }

  private func probePort(
    _ field: Field?, _ ports: [PodObject.NamedPort]
  ) throws(ConfigProblem) -> UInt16? {
    guard let probe = try field?.fields(Schemas.probe) else { return nil }
    for name in ["httpGet", "tcpSocket", "grpc"] {
      guard let action = try probe[name]?.fields(Schemas.probeAction) else { continue }
      let port = try action.required("port")
      switch try port.portOrName() {
      case .number(let number):
        // A probe of another host does not arrive at this pod.
        return action["host"] == nil ? number : nil
      case .name(let portName):
        guard let named = ports.first(where: { $0.name == portName && $0.transport == .tcp }) else {
          throw port.problem("\"\(portName)\" is not the name of a TCP port of this container")
        }
        return action["host"] == nil ? named.port : nil
      }
    }
    return nil
  }

  private func decodeStatus(_ field: Field, into pod: inout PodObject) throws(ConfigProblem) {
    let status = try field.fields(only: ["conditions", "phase", "podIP", "podIPs"])
    if let phase = try status["phase"]?.text() { pod.hasEnded = phase == "Succeeded" || phase == "Failed" }
    var addresses: [IPAddress] = []
    if let address = try status["podIP"]?.address() { addresses.append(address) }
    for entry in try status.list("podIPs") {
      if let address = try entry.fields(only: ["ip"])["ip"]?.address() { addresses.append(address) }
    }
    pod.addresses = addresses.firstOfEachFamily
    for condition in try status.list("conditions") {
      let fields = try condition.fields(only: ["type", "status"])
      guard try fields["type"]?.text() == "Ready", let state = fields["status"] else { continue }
      // Kubernetes writes the text "True"; by hand it is often left unquoted.
      if case .scalar(let text, _) = state.node.content { pod.isReady = text.lowercased() == "true" }
    }
  }
}

extension Fields {
  /// The field `protocol`, TCP where absent; nil for SCTP, which Weft does not carry.
  func transport() throws(ConfigProblem) -> Service.Transport? {
    guard let field = self["protocol"] else { return .tcp }
    return try field.choice(["TCP": Service.Transport.tcp, "UDP": .udp, "SCTP": nil])
  }
}

extension [IPAddress] {
  var firstOfEachFamily: [IPAddress] {
    var families: Set<IPAddress.Family> = []
    return filter { families.insert($0.family).inserted }
  }
}
