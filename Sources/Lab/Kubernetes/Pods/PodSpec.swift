import KubernetesAPI

extension JSONNode {
  var isTrue: Bool { self == .truth(true) }
  var bool: Bool? {
    if case .truth(let value) = self { value } else { nil }
  }
  /// The members of an object whose values are texts.
  var texts: [String: String] {
    guard case .object(let members) = self else { return [:] }
    return Dictionary(
      members.compactMap { member in member.value.text.map { (member.key, $0) } }, uniquingKeysWith: { $1 })
  }
  /// The texts of an array.
  var strings: [String] { elements.compactMap(\.text) }
}

/// What the kubelet reads of a Pod. The API server has checked and defaulted it.
struct PodSpec: Sendable, Equatable {
  enum RestartPolicy: String, Sendable { case always = "Always", onFailure = "OnFailure", never = "Never" }

  var uid: String
  /// Grows with each change.
  var version: UInt64
  var id: PodName
  var node: String
  var labels: [String: String]
  var annotations: [String: String]
  var initContainers: [ContainerSpec]
  var containers: [ContainerSpec]
  var volumes: [VolumeSpec]
  var restartPolicy: RestartPolicy
  var usesHostNetwork: Bool
  var usesHostProcesses: Bool
  /// Its containers see each other's processes, and none else.
  var sharesProcesses: Bool
  /// Seconds.
  var grace: Int
  var hostname: String
  var subdomain: String
  var account: String
  var dnsPolicy: String
  var hostAliases: [(address: String, names: [String])]
  var enablesServiceLinks: Bool
  var security: JSONNode?
  var qos: CgroupNames.QoS
  /// When it is to be gone was said.
  var isDeleted: Bool
  /// Seconds; of a pod that is deleted.
  var deletionGrace: Int
  /// What the API server knows of its end: `Succeeded` and `Failed` pods aren't started again.
  var isFinished: Bool
  /// Conditions that aren't the kubelet's.
  var foreignConditions: [JSONNode]
  var readinessGates: [String]

  static func == (left: Self, right: Self) -> Bool {
    left.uid == right.uid && left.labels == right.labels && left.annotations == right.annotations
      && left.isDeleted == right.isDeleted && left.deletionGrace == right.deletionGrace
      && left.foreignConditions == right.foreignConditions
  }

  static let ownConditions: Set<String> = ["Initialized", "Ready", "ContainersReady"]

  /// nil for a Pod without a UID or a node.
  init?(_ object: KubernetesObject) {
    let metadata = object.content["metadata"]
    guard let spec = object.content["spec"], let uid = metadata?["uid"]?.text, let node = spec["nodeName"]?.text,
      !node.isEmpty
    else { return nil }
    self.uid = uid
    version = UInt64(object.resourceVersion) ?? 0
    self.node = node
    id = PodName(namespace: object.namespace, name: object.name)
    labels = metadata?["labels"]?.texts ?? [:]
    annotations = metadata?["annotations"]?.texts ?? [:]
    initContainers = (spec["initContainers"]?.elements ?? []).map(ContainerSpec.init)
    containers = (spec["containers"]?.elements ?? []).map(ContainerSpec.init)
    volumes = (spec["volumes"]?.elements ?? []).map(VolumeSpec.init)
    restartPolicy = RestartPolicy(rawValue: spec["restartPolicy"]?.text ?? "") ?? .always
    usesHostNetwork = spec["hostNetwork"]?.isTrue == true
    usesHostProcesses = spec["hostPID"]?.isTrue == true
    sharesProcesses = spec["shareProcessNamespace"]?.isTrue == true
    grace = spec["terminationGracePeriodSeconds"]?.integer ?? 30
    hostname = usesHostNetwork ? node : spec["hostname"]?.text ?? String(object.name.prefix(63))
    subdomain = spec["subdomain"]?.text ?? ""
    account = spec["serviceAccountName"]?.text ?? "default"
    dnsPolicy = spec["dnsPolicy"]?.text ?? "ClusterFirst"
    hostAliases = (spec["hostAliases"]?.elements ?? []).map { ($0["ip"]?.text ?? "", $0["hostnames"]?.strings ?? []) }
    enablesServiceLinks = spec["enableServiceLinks"]?.bool ?? true
    security = spec["securityContext"]
    let status = object.content["status"]
    qos = CgroupNames.QoS(rawValue: status?["qosClass"]?.text ?? "") ?? .bestEffort
    isDeleted = metadata?["deletionTimestamp"]?.text != nil
    deletionGrace = metadata?["deletionGracePeriodSeconds"]?.integer ?? grace
    isFinished = ["Succeeded", "Failed"].contains(status?["phase"]?.text ?? "")
    foreignConditions = (status?["conditions"]?.elements ?? []).filter {
      !Self.ownConditions.contains($0["type"]?.text ?? "")
    }
    readinessGates = (spec["readinessGates"]?.elements ?? []).compactMap { $0["conditionType"]?.text }
  }

  var allContainers: [ContainerSpec] { initContainers + containers }
}

struct ContainerSpec: Sendable {
  struct Mount: Sendable {
    var volume: String
    var path: String
    var subPath: String
    var isReadOnly: Bool
  }

  var name: String
  var image: String
  var command: [String]
  var args: [String]
  var directory: String?
  var environment: [JSONNode]
  var environmentFrom: [JSONNode]
  var mounts: [Mount]
  var security: JSONNode?
  var probes: [ProbeKind: ProbeSpec]
  /// The command of `lifecycle.preStop.exec`.
  var preStop: [String]
  var postStart: [String]
  var ports: [String: UInt16]
  var terminationPath: String
  var resources: JSONNode?

  init(_ node: JSONNode) {
    name = node["name"]?.text ?? ""
    image = node["image"]?.text ?? ""
    command = node["command"]?.strings ?? []
    args = node["args"]?.strings ?? []
    directory = node["workingDir"]?.text
    environment = node["env"]?.elements ?? []
    environmentFrom = node["envFrom"]?.elements ?? []
    mounts = (node["volumeMounts"]?.elements ?? []).map {
      Mount(
        volume: $0["name"]?.text ?? "", path: $0["mountPath"]?.text ?? "", subPath: $0["subPath"]?.text ?? "",
        isReadOnly: $0["readOnly"]?.isTrue == true)
    }
    security = node["securityContext"]
    ports = Dictionary(
      (node["ports"]?.elements ?? []).compactMap { port in
        guard let name = port["name"]?.text, let number = port["containerPort"]?.integer else { return nil }
        return UInt16(exactly: number).map { (name, $0) }
      }, uniquingKeysWith: { $1 })
    probes = [:]
    for kind in ProbeKind.allCases {
      if let probe = node[kind.rawValue] { probes[kind] = ProbeSpec(probe, ports: ports) }
    }
    preStop = node["lifecycle"]?["preStop"]?["exec"]?["command"]?.strings ?? []
    postStart = node["lifecycle"]?["postStart"]?["exec"]?["command"]?.strings ?? []
    terminationPath = node["terminationMessagePath"]?.text ?? "/dev/termination-log"
    resources = node["resources"]
  }
}

struct VolumeSpec: Sendable {
  var name: String
  /// The whole volume: which member stands there says what it is.
  var source: JSONNode

  init(_ node: JSONNode) {
    name = node["name"]?.text ?? ""
    source = node
  }
}
