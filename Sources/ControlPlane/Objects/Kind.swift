import MeshModel

/// The kinds that Weft reads.
enum Kind: String, Sendable, CaseIterable, Comparable {
  case namespace = "Namespace"
  case node = "Node"
  case serviceAccount = "ServiceAccount"
  case pod = "Pod"
  case service = "Service"
  case endpointSlice = "EndpointSlice"
  case peerAuthentication = "PeerAuthentication"
  case httpRoute = "HTTPRoute"
  case grpcRoute = "GRPCRoute"
  case tcpRoute = "TCPRoute"
  case tlsRoute = "TLSRoute"
  case referenceGrant = "ReferenceGrant"
  case trafficPolicy = "TrafficPolicy"

  /// The newest first.
  var apiVersions: [String] {
    switch self {
    case .namespace, .node, .serviceAccount, .pod, .service: ["v1"]
    case .endpointSlice: ["discovery.k8s.io/v1"]
    case .peerAuthentication, .trafficPolicy: ["weft.dev/v1alpha1"]
    case .httpRoute, .referenceGrant: ["v1", "v1beta1"].map { "\(GatewayAPI.group)/\($0)" }
    case .grpcRoute: ["v1", "v1alpha2"].map { "\(GatewayAPI.group)/\($0)" }
    case .tcpRoute, .tlsRoute: ["v1", "v1alpha3", "v1alpha2"].map { "\(GatewayAPI.group)/\($0)" }
    }
  }

  /// nil: no kind of route.
  var route: Route.Kind? {
    switch self {
    case .httpRoute: .http
    case .grpcRoute: .grpc
    case .tcpRoute: .tcp
    case .tlsRoute: .tls
    default: nil
    }
  }

  var isClusterScoped: Bool { self == .namespace || self == .node }

  static func < (left: Kind, right: Kind) -> Bool { left.rawValue < right.rawValue }

  /// Kinds with an effect on traffic that Weft does not have yet. To ignore them would be to let pass what they forbid.
  static let unsupported: Set<String> = [
    "AuthorizationPolicy", "ExternalService", "Gateway", "RequestAuthentication", "UDPRoute",
  ]

  /// Kubernetes kinds that Weft has no use for: files that hold them beside others are fine.
  static let unused: Set<String> = [
    "CSIDriver", "CSINode", "CSIStorageCapacity", "CertificateSigningRequest", "ClusterRole", "ClusterRoleBinding",
    "ConfigMap", "ControllerRevision", "CronJob", "CustomResourceDefinition", "DaemonSet", "Deployment", "Endpoints",
    "Event", "HorizontalPodAutoscaler", "Ingress", "IngressClass", "Job", "Lease", "LimitRange",
    "MutatingWebhookConfiguration", "NetworkPolicy", "PersistentVolume", "PersistentVolumeClaim",
    "PodDisruptionBudget", "PodTemplate", "PriorityClass", "ReplicaSet", "ReplicationController", "ResourceQuota",
    "Role", "RoleBinding", "RuntimeClass", "Secret", "StatefulSet", "StorageClass", "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration", "VolumeAttachment",
  ]
}

/// A name in a namespace; the namespace is empty for a kind that belongs to none.
struct ObjectName: Hashable, Sendable, Comparable, CustomStringConvertible {
  var namespace: String
  var name: String

  init(_ namespace: String, _ name: String) {
    self.namespace = namespace
    self.name = name
  }

  var description: String { namespace.isEmpty ? name : "\(namespace)/\(name)" }

  static func < (left: ObjectName, right: ObjectName) -> Bool {
    (left.namespace, left.name) < (right.namespace, right.name)
  }
}

/// What makes an object unique.
struct ObjectKey: Hashable, Sendable, Comparable, CustomStringConvertible {
  var kind: Kind
  var name: ObjectName

  var description: String { "\(kind.rawValue) \(name)" }

  static func < (left: ObjectKey, right: ObjectKey) -> Bool {
    (left.kind, left.name) < (right.kind, right.name)
  }
}
