import KubernetesAPI

/// The kinds that an installation is made of, in the order in which they are applied: what others need comes first. They
/// are removed in the reverse order, so that no pod asks a webhook that is gone.
enum InstallKind: String, CaseIterable, Comparable, Sendable {
  case customResourceDefinition = "CustomResourceDefinition"
  case namespace = "Namespace"
  case priorityClass = "PriorityClass"
  case serviceAccount = "ServiceAccount"
  case clusterRole = "ClusterRole"
  case clusterRoleBinding = "ClusterRoleBinding"
  case role = "Role"
  case roleBinding = "RoleBinding"
  case configMap = "ConfigMap"
  case service = "Service"
  case podDisruptionBudget = "PodDisruptionBudget"
  case deployment = "Deployment"
  case daemonSet = "DaemonSet"
  case mutatingWebhookConfiguration = "MutatingWebhookConfiguration"

  var group: String {
    switch self {
    case .namespace, .serviceAccount, .configMap, .service: ""
    case .customResourceDefinition: "apiextensions.k8s.io"
    case .priorityClass: "scheduling.k8s.io"
    case .clusterRole, .clusterRoleBinding, .role, .roleBinding: "rbac.authorization.k8s.io"
    case .podDisruptionBudget: "policy"
    case .deployment, .daemonSet: "apps"
    case .mutatingWebhookConfiguration: "admissionregistration.k8s.io"
    }
  }

  var plural: String { rawValue.lowercased() + (self == .priorityClass ? "es" : "s") }

  var isClusterScoped: Bool {
    switch self {
    case .customResourceDefinition, .namespace, .priorityClass, .clusterRole, .clusterRoleBinding,
      .mutatingWebhookConfiguration:
      true
    default: false
    }
  }

  func resource(version: String = "v1") -> KubernetesResource {
    KubernetesResource(group: group, version: version, plural: plural)
  }

  private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }

  static func < (left: InstallKind, right: InstallKind) -> Bool { left.rank < right.rank }
}
