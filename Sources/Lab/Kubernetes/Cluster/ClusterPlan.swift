import MeshModel

/// Addresses and names of the cluster that don't vary.
enum ClusterPlan {
  static let apiPort = 6443
  static let etcdPort = 2379
  static let etcdPeerPort = 2380
  static let kubeletPort = 10250
  static let serviceRange = "10.96.0.0/16"
  /// The first of `serviceRange`: the Service `kubernetes`.
  static let apiService = "10.96.0.1"
  static let domain = "cluster.local"
  static let issuer = "https://kubernetes.default.svc.\(domain)"
  static var url: String { "https://\(AddressPlan.linkV4):\(apiPort)" }

  static let dnsService = "kube-system/kube-dns"
}
