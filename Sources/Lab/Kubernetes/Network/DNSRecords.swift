import MeshModel

/// The names of the cluster's DNS, as the hosts file of dnsmasq. Pure.
enum DNSRecords {
  /// Keeps the address that pods ask from being given to another Service; each node answers there itself.
  static let serviceManifest = """
    apiVersion: v1
    kind: Service
    metadata: {name: kube-dns, namespace: kube-system, labels: {k8s-app: kube-dns}}
    spec:
      clusterIP: \(AddressPlan.dnsServer)
      ports:
      - {name: dns, port: 53, protocol: UDP}
      - {name: dns-tcp, port: 53, protocol: TCP}

    """

  static func hosts(_ services: [ServiceView]) -> String {
    var lines: [String] = []
    for service in services {
      let name = "\(service.id.name).\(service.id.namespace).svc.\(ClusterPlan.domain)"
      if !service.address.isEmpty {
        lines.append("\(service.address) \(name)")
        continue
      }
      for endpoint in service.endpoints {
        lines.append("\(endpoint.address) \(name)")
        if !endpoint.hostname.isEmpty { lines.append("\(endpoint.address) \(endpoint.hostname).\(name)") }
      }
    }
    return lines.map { "\($0)\n" }.joined()
  }
}
