import MeshModel

/// What Weft reads of an object's metadata.
struct ObjectMetadata {
  var name: ObjectName
  var labelsField: Field?
  var labels: [String: String]
  var isBeingDeleted: Bool
  var nameField: Field
  var namespaceField: Field?
  var annotationsField: Field?
  var createdField: Field?
  var uidField: Field?

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

  /// The annotation `weft.dev/protocol` of a namespace; empty if none.
  func appProtocol() throws(ConfigProblem) -> String {
    guard let field = annotationsField?.entry(Self.protocolAnnotation) else { return "" }
    return try checked(try field.text(), field)
  }

  /// Of a Service: `http` for all of its ports, or `8080=http,9090=tcp`.
  func protocols(of service: ServiceObject) throws(ConfigProblem) -> DeclaredProtocols {
    var declared = DeclaredProtocols()
    guard let field = annotationsField?.entry(Self.protocolAnnotation) else { return declared }
    for part in try field.line(1...1024).split(separator: ",", omittingEmptySubsequences: false) {
      let sides = part.split(separator: "=", omittingEmptySubsequences: false).map { String($0.trimmed) }
      if sides.count == 1, declared.general.isEmpty {
        declared.general = try checked(sides[0], field)
        continue
      }
      guard sides.count == 2, let port = UInt16(sides[0]) else {
        throw field.expected("a protocol, or a list such as 8080=http,9090=tcp")
      }
      guard service.ports.contains(where: { $0.port == port && $0.transport == .tcp }) else {
        throw field.problem("\(port) is not a TCP port of this Service")
      }
      guard declared.byPort.updateValue(try checked(sides[1], field), forKey: port) == nil else {
        throw field.problem("the port \(port) stands twice")
      }
    }
    return declared
  }

  /// The name that a node's cgroup tree gives a pod; empty if none. A static pod stands there under its file's hash, not
  /// under the UID that the API server gave its mirror. Anybody can write annotations: what has the form of another pod's UID
  /// is no hash, and no pod takes another's place by it.
  func podUID() throws(ConfigProblem) -> String {
    if annotationsField?.entry("kubernetes.io/config.mirror") != nil,
      let hash = try annotationsField?.entry("kubernetes.io/config.hash")?.line(0...128), Self.isFileHash(hash)
    {
      return hash
    }
    return try uidField?.line(0...128) ?? ""
  }

  /// 128 bits in lower-case hexadecimal, as the kubelet names what it reads from a file; a UID has dashes.
  private static func isFileHash(_ text: String) -> Bool {
    text.utf8.count == 32 && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
  }

  /// Who carries the pod's connections: what its injection wrote into the annotation `weft.dev/injected`.
  func mode() throws(ConfigProblem) -> Workload.Mode {
    guard let field = annotationsField?.entry("weft.dev/injected") else { return .node }
    return try field.choice(["handoff": Workload.Mode.stubHandoff, "tunnel": .stubTunnel])
  }

  private static let protocolAnnotation = "weft.dev/protocol"

  private func checked(_ name: String, _ field: Field) throws(ConfigProblem) -> String {
    guard ["tcp", "http", "http2", "grpc", "tls"].contains(name) else {
      throw field.problem("\"\(name.prefix(64))\" is not one of tcp, http, http2, grpc, tls")
    }
    return name
  }

  /// The annotation `weft.dev/weight` of a pod: its share of a Service's requests among the others', 1 where not said.
  func weight() throws(ConfigProblem) -> UInt32 {
    guard let field = annotationsField?.entry("weft.dev/weight") else { return 1 }
    guard let weight = UInt32(try field.text()), weight <= 1_000_000 else {
      throw field.expected("a whole number from 0 to 1000000 in quotes")
    }
    return weight
  }

  /// A Node's place.
  func topology() throws(ConfigProblem) -> NodeObject {
    func label(_ name: String) throws(ConfigProblem) -> String {
      try labelsField?.entry("topology.kubernetes.io/\(name)")?.line(0...63) ?? ""
    }
    return NodeObject(zone: try label("zone"), region: try label("region"))
  }

  /// `creationTimestamp` in seconds since 1970; 0 where there is none.
  func created() throws(ConfigProblem) -> Int64 { try createdField?.timestamp() ?? 0 }
}

extension Substring {
  fileprivate var trimmed: Substring {
    var rest = drop { $0 == " " }
    while rest.last == " " { rest.removeLast() }
    return rest
  }
}
