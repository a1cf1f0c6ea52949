import Foundation

/// A program of the cluster and how it is started in this lab.
public enum ClusterProgram: String, Codable, CaseIterable, Sendable {
  case etcd
  case api = "kube-apiserver"
  case controllerManager = "kube-controller-manager"
  case scheduler = "kube-scheduler"
  case kubelet

  /// Where Kubernetes' programs are: `$WEFT_KUBERNETES/bin`, else the cache of `make deps-kubernetes`.
  static var folder: String {
    (ProcessInfo.processInfo.environment["WEFT_KUBERNETES"] ?? "/var/cache/weft-kubernetes") + "/bin"
  }

  /// - Throws: `LabError` naming what is missing and how to get it.
  func path() throws -> String {
    switch self {
    case .kubelet: return try Programs.path("weft-lab")
    case .etcd:
      if let path = Commands.find("etcd", searchPath: Commands.searchPath, directory: "/") { return path }
      throw LabError("etcd isn't on this machine. Run: make deps-kubernetes")
    case .api, .controllerManager, .scheduler:
      let path = "\(Self.folder)/\(rawValue)"
      guard access(path, X_OK) == 0 else {
        throw LabError(
          "\(path): isn't there. Run `make deps-kubernetes` once, or set WEFT_KUBERNETES to its folder.")
      }
      return path
    }
  }

  /// - Throws: `LabError` where a program of the cluster is missing.
  static func checkAll() throws {
    for program in allCases { _ = try program.path() }
    for tool in ["kubectl", "openssl", "nft", "dnsmasq"]
    where Commands.find(tool, searchPath: Commands.searchPath, directory: "/") == nil {
      throw LabError("\(tool) isn't on this machine. Run: make deps-kubernetes")
    }
  }

  func arguments(_ layout: Layout) -> [String] {
    let authority = layout.clusterCertificate(Certificates.authority)
    switch self {
    case .etcd:
      let client = "http://127.0.0.1:\(ClusterPlan.etcdPort)"
      let peer = "http://127.0.0.1:\(ClusterPlan.etcdPeerPort)"
      // A lab needs no data after a power cut.
      return [
        "--data-dir", "\(layout.cluster)/etcd", "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=\(peer)",
        "--unsafe-no-fsync",
      ]
    case .api:
      return [
        "--etcd-servers=http://127.0.0.1:\(ClusterPlan.etcdPort)", "--secure-port=\(ClusterPlan.apiPort)",
        "--insecure-port=0", "--advertise-address=\(AddressPlan.linkV4)", "--cert-dir=\(layout.cluster)",
        "--tls-cert-file=\(layout.clusterCertificate("apiserver"))",
        "--tls-private-key-file=\(layout.clusterKey("apiserver"))", "--client-ca-file=\(authority)",
        "--kubelet-certificate-authority=\(authority)",
        "--kubelet-client-certificate=\(layout.clusterCertificate("apiserver-kubelet"))",
        "--kubelet-client-key=\(layout.clusterKey("apiserver-kubelet"))",
        "--kubelet-preferred-address-types=InternalIP", "--service-cluster-ip-range=\(ClusterPlan.serviceRange)",
        "--service-account-issuer=\(ClusterPlan.issuer)",
        "--service-account-signing-key-file=\(layout.clusterKey("sa"))",
        "--service-account-key-file=\(layout.clusterCertificate("sa"))", "--authorization-mode=RBAC",
        "--allow-privileged=true",
      ]
    case .controllerManager:
      return [
        "--kubeconfig=\(layout.kubeconfig(rawValue))", "--leader-elect=false", "--port=0", "--secure-port=0",
        "--use-service-account-credentials=true", "--root-ca-file=\(authority)",
        "--service-account-private-key-file=\(layout.clusterKey("sa"))",
        "--cluster-signing-cert-file=\(authority)",
        "--cluster-signing-key-file=\(layout.clusterKey(Certificates.authority))",
      ]
    case .scheduler:
      return ["--kubeconfig=\(layout.kubeconfig(rawValue))", "--leader-elect=false", "--port=0", "--secure-port=0"]
    case .kubelet: return ["kubelet", "--name", layout.name.description]
    }
  }
}
