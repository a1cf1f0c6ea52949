import KubernetesAPI

extension Kind {
  /// What the decoder reads of a kind's objects, of those kinds that a cluster has many of. Names that a schema knows and
  /// that aren't here have no use.
  var selection: JSONSelection {
    switch self {
    case .namespace, .serviceAccount, .node: ["metadata": Self.metadata]
    case .pod:
      [
        "metadata": Self.metadata,
        "spec": [
          "containers": Self.container, "initContainers": Self.container, "hostNetwork": .all, "hostname": .all,
          "nodeName": .all, "serviceAccount": .all, "serviceAccountName": .all, "subdomain": .all,
        ],
        "status": [
          "conditions": ["type": .all, "status": .all], "phase": .all, "podIP": .all, "podIPs": .all,
        ],
      ]
    case .service: ["metadata": Self.metadata, "spec": .all]
    case .endpointSlice:
      [
        "metadata": Self.metadata, "addressType": .all, "ports": .all,
        "endpoints": ["addresses": .all, "conditions": .all, "hostname": .all, "nodeName": .all, "zone": .all],
      ]
    // Read whole: few, and what isn't known in them is told.
    case .peerAuthentication, .httpRoute, .grpcRoute, .tcpRoute, .tlsRoute, .referenceGrant, .trafficPolicy: .all
    }
  }

  private static let metadata = JSONSelection([
    "name", "namespace", "uid", "resourceVersion", "generation", "labels", "annotations", "creationTimestamp",
    "deletionTimestamp",
  ])
  private static let container = JSONSelection([
    "name", "ports", "restartPolicy", "livenessProbe", "readinessProbe", "startupProbe",
  ])
}
