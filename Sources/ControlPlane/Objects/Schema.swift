import MeshModel

/// The names that a map may have: those that Weft reads, and those of Kubernetes that it has no use for.
/// Anything else is a mistake in the file, most often a misspelt name.
struct Schema: Sendable {
  var read: Set<String>
  var ignored: Set<String>

  init(_ read: Set<String>, ignored: Set<String> = []) {
    self.read = read
    self.ignored = ignored
  }

  func unknown(_ name: String) -> String {
    let candidates = read.union(ignored).sorted()
    let lowered = name.lowercased()
    let nearest = candidates.map { (name: $0, distance: editDistance($0.lowercased(), lowered)) }
      .min { $0.distance < $1.distance }
    guard let nearest, nearest.distance <= max(1, min(3, name.count / 3)) else {
      return "is not a known field; known here: \(candidates.prefix(40).joined(separator: ", "))"
    }
    return "is not a known field; did you mean \(nearest.name)?"
  }
}

/// The maps of the kinds that Weft reads: Kubernetes API v1.34, core/v1 and discovery.k8s.io/v1.
enum Schemas {
  private static let object: Set<String> = ["apiVersion", "kind", "metadata"]

  static let metadata = Schema(
    ["annotations", "creationTimestamp", "deletionTimestamp", "labels", "name", "namespace"],
    ignored: [
      "clusterName", "deletionGracePeriodSeconds", "finalizers", "generateName", "generation", "managedFields",
      "ownerReferences", "resourceVersion", "selfLink", "uid",
    ])

  static let pod = Schema(object.union(["spec", "status"]))
  static let podSpec = Schema(
    [
      "containers", "hostNetwork", "hostname", "initContainers", "nodeName", "serviceAccount", "serviceAccountName",
      "subdomain",
    ],
    ignored: [
      "activeDeadlineSeconds", "affinity", "automountServiceAccountToken", "dnsConfig", "dnsPolicy",
      "enableServiceLinks", "ephemeralContainers", "hostAliases", "hostIPC", "hostPID", "hostUsers",
      "hostnameOverride", "imagePullSecrets", "nodeSelector", "os", "overhead", "preemptionPolicy", "priority",
      "priorityClassName", "readinessGates", "resourceClaims", "resources", "restartPolicy", "runtimeClassName",
      "schedulerName", "schedulingGates", "securityContext", "setHostnameAsFQDN", "shareProcessNamespace",
      "terminationGracePeriodSeconds", "tolerations", "topologySpreadConstraints", "volumes", "workloadRef",
    ])
  static let container = Schema(
    ["livenessProbe", "name", "ports", "readinessProbe", "restartPolicy", "startupProbe"],
    ignored: [
      "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "resizePolicy", "resources",
      "restartPolicyRules", "securityContext", "stdin", "stdinOnce", "terminationMessagePath",
      "terminationMessagePolicy", "tty", "volumeDevices", "volumeMounts", "workingDir",
    ])
  static let containerPort = Schema(["containerPort", "name", "protocol"], ignored: ["hostIP", "hostPort"])
  static let probe = Schema(
    ["grpc", "httpGet", "tcpSocket"],
    ignored: [
      "exec", "failureThreshold", "initialDelaySeconds", "periodSeconds", "successThreshold",
      "terminationGracePeriodSeconds", "timeoutSeconds",
    ])
  static let probeAction = Schema(["host", "port"], ignored: ["httpHeaders", "path", "scheme", "service"])

  static let service = Schema(object.union(["spec"]), ignored: ["status"])
  static let serviceSpec = Schema(
    [
      "clusterIP", "clusterIPs", "externalName", "ports", "publishNotReadyAddresses", "selector", "sessionAffinity",
      "type",
    ],
    ignored: [
      "allocateLoadBalancerNodePorts", "externalIPs", "externalTrafficPolicy", "healthCheckNodePort",
      "internalTrafficPolicy", "ipFamilies", "ipFamilyPolicy", "loadBalancerClass", "loadBalancerIP",
      "loadBalancerSourceRanges", "sessionAffinityConfig", "topologyKeys", "trafficDistribution",
    ])
  static let servicePort = Schema(["appProtocol", "name", "port", "protocol", "targetPort"], ignored: ["nodePort"])

  static let namespace = Schema(object, ignored: ["spec", "status"])
  static let serviceAccount = Schema(
    object, ignored: ["automountServiceAccountToken", "imagePullSecrets", "secrets"])
  static let node = Schema(object.union(["spec"]), ignored: ["status"])
  static let nodeSpec = Schema(
    [], ignored: ["configSource", "externalID", "podCIDR", "podCIDRs", "providerID", "taints", "unschedulable"])

  static let endpointSlice = Schema(object.union(["addressType", "endpoints", "ports"]))
  static let endpoint = Schema(
    ["addresses", "conditions", "hostname", "nodeName", "zone"],
    ignored: ["deprecatedTopology", "hints", "targetRef"])
  static let endpointConditions = Schema(["ready", "terminating"], ignored: ["serving"])
  static let endpointPort = Schema(["name", "port", "protocol"], ignored: ["appProtocol"])

  static let peerAuthentication = Schema(object.union(["spec"]), ignored: ["status"])
  static let peerAuthenticationSpec = Schema(["mtls", "portLevelMtls", "selector"])
  static let mutualTLS = Schema(["mode"])

  static let list = Schema(object.union(["items"]))
  static let listMetadata = Schema([], ignored: ["continue", "remainingItemCount", "resourceVersion", "selfLink"])
}
