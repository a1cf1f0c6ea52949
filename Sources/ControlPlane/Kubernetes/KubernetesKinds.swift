import KubernetesAPI

extension Kind {
  /// Where an API server has it, the newest version first: the first that it knows is used.
  var resources: [KubernetesResource] {
    let plural =
      switch self {
      case .namespace: "namespaces"
      case .node: "nodes"
      case .serviceAccount: "serviceaccounts"
      case .pod: "pods"
      case .service: "services"
      case .endpointSlice: "endpointslices"
      case .peerAuthentication: "peerauthentications"
      case .httpRoute: "httproutes"
      case .grpcRoute: "grpcroutes"
      case .tcpRoute: "tcproutes"
      case .tlsRoute: "tlsroutes"
      case .referenceGrant: "referencegrants"
      case .trafficPolicy: "trafficpolicies"
      }
    // Before 1.21 there is no other version of it; what is read of both is the same.
    let older = self == .endpointSlice ? ["discovery.k8s.io/v1beta1"] : []
    return (apiVersions + older).map { version in
      let parts = version.split(separator: "/").map(String.init)
      return KubernetesResource(
        group: parts.count == 2 ? parts[0] : "", version: parts[parts.count - 1], plural: plural)
    }
  }

  /// Written by people: an edit may be refused, and then the version before holds.
  var isEdited: Bool {
    switch self {
    case .pod, .endpointSlice, .node: false
    default: true
    }
  }

  /// Of a CustomResourceDefinition, which may not be installed.
  var isCustom: Bool {
    switch self {
    case .namespace, .node, .serviceAccount, .pod, .service, .endpointSlice: false
    default: true
    }
  }
}
