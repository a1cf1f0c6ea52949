import KubernetesAPI

/// A container's environment. Pure: objects come in.
struct ContainerVariables {
  private(set) var values: [String: String] = [:]

  struct Input {
    var pod: PodSpec
    var addresses: [String]
    var hostAddress: String
    var configMap: (String) -> JSONNode?
    var secret: (String) -> JSONNode?
    /// For the variables of Services.
    var services: [ServiceView]
  }

  /// - Throws: `LabError` where an object or key that isn't optional is missing.
  init(_ container: ContainerSpec, base: [String: String], input: Input) throws {
    values = base
    values.merge(Self.services(input)) { $1 }
    for source in container.environmentFrom {
      let prefix = source["prefix"]?.text ?? ""
      for (key, value) in try Self.all(source, input) { values[prefix + key] = value }
    }
    for variable in container.environment {
      guard let name = variable["name"]?.text else { continue }
      if let from = variable["valueFrom"] {
        if let value = try Self.value(from, input) { values[name] = value }
      } else {
        values[name] = expand(variable["value"]?.text ?? "")
      }
    }
  }

  /// `NAME=value` in the order of names.
  var list: [String] { values.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" } }

  /// Replaces `$(NAME)` of a known variable; `$$` is a plain `$`; anything else stays.
  func expand(_ text: String) -> String {
    ContainerEnvironment.expand(text, values: values)
  }

  private static func all(_ source: JSONNode, _ input: Input) throws -> [String: String] {
    let isSecret = source["secretRef"] != nil
    guard let reference = source["secretRef"] ?? source["configMapRef"], let name = reference["name"]?.text else {
      return [:]
    }
    guard let object = isSecret ? input.secret(name) : input.configMap(name) else {
      if reference["optional"]?.isTrue == true { return [:] }
      throw LabError("\(isSecret ? "secret" : "configmap") \"\(name)\" not found")
    }
    return try VolumeContent.values(object, isSecret: isSecret, name: name)
      .mapValues { String(decoding: $0, as: UTF8.self) }
  }

  private static func value(_ from: JSONNode, _ input: Input) throws -> String? {
    if let path = from["fieldRef"]?["fieldPath"]?.text {
      return VolumeContent.field(
        path, pod: input.pod, addresses: input.addresses, hostAddress: input.hostAddress) ?? ""
    }
    if let resource = from["resourceFieldRef"] { return resourceValue(resource, input.pod) }
    let isSecret = from["secretKeyRef"] != nil
    guard let reference = from["secretKeyRef"] ?? from["configMapKeyRef"], let name = reference["name"]?.text,
      let key = reference["key"]?.text
    else { return nil }
    let object = isSecret ? input.secret(name) : input.configMap(name)
    let values = try object.map { try VolumeContent.values($0, isSecret: isSecret, name: name) }
    if let bytes = values?[key] { return String(decoding: bytes, as: UTF8.self) }
    if reference["optional"]?.isTrue == true { return nil }
    let kind = isSecret ? "secret" : "configmap"
    throw LabError(object == nil ? "\(kind) \"\(name)\" not found" : "couldn't find key \(key) in \(kind) \"\(name)\"")
  }

  private static func resourceValue(_ reference: JSONNode, _ pod: PodSpec) -> String? {
    let container = pod.allContainers.first { $0.name == reference["containerName"]?.text } ?? pod.containers.first
    let parts = (reference["resource"]?.text ?? "").split(separator: ".", maxSplits: 1).map(String.init)
    guard parts.count == 2 else { return nil }
    return container?.resources?[parts[0]]?[parts[1]]?.text
  }

  /// `WEB_SERVICE_HOST` and `WEB_SERVICE_PORT` of the pod's namespace, and those of the API server.
  private static func services(_ input: Input) -> [String: String] {
    var values: [String: String] = [:]
    for service in input.services where !service.address.isEmpty {
      let isServer = service.id == PodName(namespace: "default", name: "kubernetes")
      guard isServer || input.pod.enablesServiceLinks && service.id.namespace == input.pod.id.namespace,
        let port = service.ports.first
      else { continue }
      let name = service.id.name.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
      values["\(name)_SERVICE_HOST"] = service.address
      values["\(name)_SERVICE_PORT"] = String(port.number)
      for port in service.ports where !port.name.isEmpty {
        let suffix = port.name.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
        values["\(name)_SERVICE_PORT_\(suffix)"] = String(port.number)
      }
      values["\(name)_PORT"] = "\(port.transport)://\(service.address):\(port.number)"
    }
    return values
  }
}
