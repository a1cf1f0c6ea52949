/// Where a lab keeps what its Kubernetes cluster consists of.
extension Layout {
  /// Keys, certificates and what is applied; nobody's but root's.
  var cluster: String { "\(run)/cluster" }
  var clusterObjects: String { "\(cluster)/objects" }
  func clusterCertificate(_ name: String) -> String { "\(cluster)/\(name).pem" }
  func clusterKey(_ name: String) -> String { "\(cluster)/\(name).key" }
  /// The administrator's.
  var kubeconfig: String { "\(run)/kubeconfig" }
  func kubeconfig(_ program: String) -> String { "\(cluster)/\(program).kubeconfig" }
  func clusterLog(_ program: String) -> String { "\(logs)/\(program).log" }
  /// Image names and the commands that stand for them; written by `up`.
  var images: String { "\(cluster)/images.json" }

  /// The kubelet's record of its pods.
  var podRecords: String { "\(run)/pods.json" }
  /// A file system in memory of the lab's own: the upper layer of a container's root can't lie in its lower one.
  var podsMount: String { "\(run)/pods" }
  func podFolder(uid: String) -> String { "\(podsMount)/\(uid)" }
  func podLogs(_ pod: PodName, uid: String) -> String { "\(podLogs)/\(pod.fileName)_\(uid)" }
  /// What a node's `hostPath` volumes lead to.
  func nodeRoot(_ node: String) -> String { "\(self.node(node))/root" }
  /// A node's own programs, outside of `kubepods`.
  func nodeSystemCgroup(_ node: String) -> String { "\(nodeCgroup(node))/system.slice" }
  func nodeHosts(_ node: String) -> String { "\(self.node(node))/dns-hosts" }
}
