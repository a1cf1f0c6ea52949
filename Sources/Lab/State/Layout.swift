/// Where everything of one lab lives. Whatever a lab makes bears its name at one of these places, so that it
/// can be found and removed without any record.
struct Layout: Sendable {
  let name: LabName
  /// The cgroup v2 mount point.
  let cgroupRoot: String

  static let runRoot = "/run/weft-lab"
  static let namespaceFolder = "/run/netns"
  static let bpffsMount = "/sys/fs/bpf"

  var run: String { "\(Self.runRoot)/\(name)" }
  /// Held while a lab is made, changed or removed.
  var lockFile: String { "\(Self.runRoot)/\(name).lock" }
  var stateFile: String { "\(run)/lab.json" }
  var config: String { "\(run)/config" }
  var controlFolder: String { "\(run)/control" }
  var controlState: String { "\(controlFolder)/state" }
  var joinTokens: String { "\(controlFolder)/join-tokens" }
  var logs: String { "\(run)/logs" }
  var controlLog: String { "\(logs)/control.log" }
  var podLogs: String { "\(logs)/pods" }

  func node(_ node: String) -> String { "\(run)/nodes/\(node)" }
  func agentRun(_ node: String) -> String { "\(self.node(node))/run" }
  func agentSocket(_ node: String) -> String { "\(agentRun(node))/agent.sock" }
  func agentState(_ node: String) -> String { "\(self.node(node))/state" }
  func agentPods(_ node: String) -> String { "\(self.node(node))/pods" }
  func agentToken(_ node: String) -> String { "\(self.node(node))/join-token" }
  func agentLog(_ node: String) -> String { "\(logs)/agent-\(node).log" }

  func podFolder(_ pod: PodName) -> String { "\(run)/pods/\(pod.fileName)" }
  func podResolvConf(_ pod: PodName) -> String { "\(podFolder(pod))/resolv.conf" }
  func podHosts(_ pod: PodName) -> String { "\(podFolder(pod))/hosts" }
  /// The files that a pod sees instead of the machine's.
  func podBinds(_ pod: PodName) -> [(source: String, target: String)] {
    [(podResolvConf(pod), "/etc/resolv.conf"), (podHosts(pod), "/etc/hosts")]
  }
  /// The folder that is a pod's own to write to: `$POD_DIR`.
  func podData(_ pod: PodName) -> String { "\(podFolder(pod))/data" }
  func podLog(_ pod: PodName) -> String { "\(podLogs)/\(pod.fileName).log" }

  var linkNamespace: String { "weft-\(name)" }
  func nodeNamespace(_ node: String) -> String { "weft-\(name)-\(node)" }
  func podNamespace(_ index: Int) -> String { "weft-\(name)-p\(index)" }
  func namespacePath(_ namespace: String) -> String { "\(Self.namespaceFolder)/\(namespace)" }
  func owns(namespace: String) -> Bool { namespace == linkNamespace || namespace.hasPrefix("\(linkNamespace)-") }

  var labsCgroup: String { "\(cgroupRoot)/weft-lab" }
  var cgroup: String { "\(labsCgroup)/\(name)" }
  /// The control plane and packet captures; no Node can bear this name.
  var linkCgroup: String { "\(cgroup)/_link" }
  func nodeCgroup(_ node: String) -> String { "\(cgroup)/\(node)" }
  func agentCgroup(_ node: String) -> String { "\(nodeCgroup(node))/agent" }
  func proxyCgroup(_ node: String) -> String { "\(nodeCgroup(node))/proxy" }
  func podCgroup(_ pod: PodName, node: String) -> String { "\(nodeCgroup(node))/pods/\(pod.fileName)" }

  static var labsBPF: String { "\(bpffsMount)/weft-lab" }
  var bpf: String { "\(Self.labsBPF)/\(name)" }
  func nodeBPF(_ node: String) -> String { "\(bpf)/\(node)" }
}

/// A pod's namespace and name.
public struct PodName: Hashable, Sendable, Codable, Comparable, CustomStringConvertible {
  public var namespace: String
  public var name: String

  public init(namespace: String, name: String) {
    self.namespace = namespace
    self.name = name
  }

  /// Unique, as a namespace holds no `_`.
  var fileName: String { "\(namespace)_\(name)" }
  public var description: String { "\(namespace)/\(name)" }

  public static func < (left: Self, right: Self) -> Bool { (left.namespace, left.name) < (right.namespace, right.name) }
}
