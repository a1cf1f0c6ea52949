import MeshModel

/// What the lab reads of a Pod. Fields that Kubernetes knows and a namespace on this machine has no use for
/// (image, resources, probes, volumes) may stand there and are left alone; any other is refused.
struct PodManifest: Sendable {
  let manifest: Manifest
  let nodeName: String
  let containers: [Container]
  let hostname: String

  struct Container: Sendable {
    let name: String
    let command: [String]
    let environment: [Variable]
    let workingDirectory: String?
    let ports: [Port]
    let line: Int
  }

  struct Variable: Sendable {
    let name: String
    let value: Value

    enum Value: Sendable {
      case literal(String)
      /// The downward API's `fieldRef.fieldPath`.
      case field(String)
    }
  }

  struct Port: Sendable, Hashable {
    let number: UInt16
    let isUDP: Bool
  }

  static let fieldPaths: Set<String> = [
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.podIP",
    "status.podIPs", "status.hostIP",
  ]

  private static let podFields: Set<String> = [
    "activeDeadlineSeconds", "affinity", "automountServiceAccountToken", "containers", "dnsConfig", "dnsPolicy",
    "enableServiceLinks", "ephemeralContainers", "hostAliases", "hostIPC", "hostNetwork", "hostPID", "hostUsers",
    "hostname", "hostnameOverride", "imagePullSecrets", "initContainers", "nodeName", "nodeSelector", "os",
    "overhead", "preemptionPolicy", "priority", "priorityClassName", "readinessGates", "resourceClaims", "resources",
    "restartPolicy", "runtimeClassName", "schedulerName", "schedulingGates", "securityContext", "serviceAccount",
    "serviceAccountName", "setHostnameAsFQDN", "shareProcessNamespace", "subdomain",
    "terminationGracePeriodSeconds", "tolerations", "topologySpreadConstraints", "volumes",
  ]
  private static let containerFields: Set<String> = [
    "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "name", "ports",
    "readinessProbe", "resizePolicy", "resources", "restartPolicy", "securityContext", "startupProbe", "stdin",
    "stdinOnce", "terminationMessagePath", "terminationMessagePolicy", "tty", "volumeDevices", "volumeMounts",
    "workingDir",
  ]
  /// What would change how the pod behaves, and can't be had here.
  private static let unsupportedPodFields = ["initContainers", "ephemeralContainers"]
  private static let topFields: Set<String> = ["apiVersion", "kind", "metadata", "spec", "status"]

  /// - Throws: `LabError` naming file, line and field.
  init(_ manifest: Manifest) throws {
    self.manifest = manifest
    let fields = try manifest.root.map(known: Self.topFields)
    guard let spec = fields["spec"], spec.isPresent else { throw manifest.root["spec"].error("is required") }
    _ = try spec.map(known: Self.podFields)
    for name in Self.unsupportedPodFields where try !spec[name].list().isEmpty {
      throw spec[name].error("the lab starts a pod's containers only")
    }
    if try spec["hostNetwork"].bool() == true {
      throw spec["hostNetwork"].error("every pod of the lab has a network namespace of its own")
    }
    nodeName = try spec["nodeName"].required(spec["nodeName"].string())
    if let account = try spec["serviceAccountName"].string(), !DNSName.isSubdomain(account) {
      throw spec["serviceAccountName"].error("\"\(account)\" is no DNS name")
    }
    let named = try spec["hostname"].string()
    if let named, !DNSName.isLabel(named) { throw spec["hostname"].error("\"\(named)\" is no DNS label") }
    hostname = named ?? String(manifest.key.name.prefix(63))
    let list = try spec["containers"].list()
    guard !list.isEmpty else { throw spec["containers"].error("at least one container is required") }
    containers = try list.map(Self.container)
    var names: Set<String> = []
    for (container, field) in zip(containers, list) where !names.insert(container.name).inserted {
      throw field["name"].error("\"\(container.name)\" names two containers")
    }
  }

  private static func container(_ field: Field) throws -> Container {
    guard field.isPresent else { throw field.error("expected a map, found nothing") }
    _ = try field.map(known: containerFields)
    let name = try field["name"].required(field["name"].string())
    guard DNSName.isLabel(name) else { throw field["name"].error("\"\(name)\" is no DNS label") }
    let command = try field["command"].strings()
    guard let program = command.first, !program.isEmpty else {
      throw field["command"].error("is required: the lab runs programs of this machine, not images")
    }
    let arguments = try field["args"].strings()
    guard (command + arguments).allSatisfy({ !$0.utf8.contains(0) }) else {
      throw field["command"].error("holds a zero byte")
    }
    guard try field["envFrom"].list().isEmpty else {
      throw field["envFrom"].error("the lab has no ConfigMaps and Secrets; use env")
    }
    return Container(
      name: name, command: command + arguments, environment: try field["env"].list().map(variable),
      workingDirectory: try field["workingDir"].string(), ports: try field["ports"].list().map(port),
      line: field.line)
  }

  private static func variable(_ field: Field) throws -> Variable {
    _ = try field.map(known: ["name", "value", "valueFrom"])
    let name = try field["name"].required(field["name"].string())
    guard !name.isEmpty, !name.utf8.contains(UInt8(ascii: "=")), !name.utf8.contains(0) else {
      throw field["name"].error("\"\(name)\" can't name an environment variable")
    }
    guard field["valueFrom"].isPresent else {
      return Variable(name: name, value: .literal(try field["value"].string() ?? ""))
    }
    _ = try field["valueFrom"].map(known: ["fieldRef"])
    let reference = field["valueFrom"]["fieldRef"]
    _ = try reference.map(known: ["apiVersion", "fieldPath"])
    let path = try reference["fieldPath"].required(reference["fieldPath"].string())
    guard fieldPaths.contains(path) else {
      throw reference["fieldPath"].error("expected one of \(fieldPaths.sorted().joined(separator: ", "))")
    }
    return Variable(name: name, value: .field(path))
  }

  private static func port(_ field: Field) throws -> Port {
    _ = try field.map(known: ["containerPort", "name", "protocol", "hostPort", "hostIP"])
    guard !field["hostPort"].isPresent else { throw field["hostPort"].error("the lab opens no port of the machine") }
    let number = try field["containerPort"].required(field["containerPort"].int(in: 1...65535))
    let transport = try field["protocol"].choice(["TCP", "UDP"], default: "TCP")
    return Port(number: UInt16(number), isUDP: transport == "UDP")
  }
}
