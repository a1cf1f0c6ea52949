import Foundation
import KubernetesAPI
import MeshModel

/// What could be found out of something: a check judges it, and says where it couldn't.
enum Fact<Value: Sendable>: Sendable {
  case found(Value)
  case absent
  /// It may be there: why that isn't known.
  case unknown(String)

  var value: Value? {
    if case .found(let value) = self { value } else { nil }
  }
}

/// All that the checks of a cluster's installation judge by; fetched by `FactsGathering`.
struct ClusterFacts: Sendable {
  /// What one agent says of itself and its node.
  struct Agent: Sendable {
    var node: String
    var status: Result<StatusAnswer, Failure>
    var checks: [CheckAnswer.Entry] = []
    var workloads: [WorkloadsAnswer.Entry] = []
  }

  /// The API server's clock, by which the cluster's times are judged; where it tells none, this machine's.
  var now: Date
  /// Seconds by which this machine's clock is ahead of that.
  var clockLead = 0.0
  /// This program's.
  var version = WeftVersion.current
  /// How it was installed; absent: by kubectl.
  var record = Fact<JSONNode>.absent
  var deployment = Fact<JSONNode>.absent
  var daemonSet = Fact<JSONNode>.absent
  var lease = Fact<JSONNode>.absent
  /// The ConfigMap weft-roots.
  var roots = Fact<JSONNode>.absent
  var webhook = Fact<JSONNode>.absent
  var clusterRole = Fact<JSONNode>.absent
  /// In the mesh's namespace.
  var role = Fact<JSONNode>.absent
  var roleBinding = Fact<JSONNode>.absent
  var clusterRoleBinding = Fact<JSONNode>.absent
  /// ClusterRoleBindings and RoleBindings of the whole cluster.
  var bindings = Fact<[JSONNode]>.absent
  /// CustomResourceDefinitions.
  var definitions = Fact<[JSONNode]>.absent
  var nodes = Fact<[JSONNode]>.absent
  var namespaces = Fact<[JSONNode]>.absent
  /// ServiceAccounts with the label weft.dev/mode.
  var accounts = Fact<[JSONNode]>.absent
  /// Only what concerns this node is asked about; nil: every node.
  var node: String?
  /// Of all namespaces.
  var pods = Fact<[JSONNode]>.absent
  /// Routes and weft.dev's objects, each with its kind.
  var objects: [(kind: String, objects: Fact<[JSONNode]>)] = []
  var agents: [Agent] = []
  /// By the pods' names, of those that told it.
  var controlVersions: [String: String] = [:]

  /// Pods of the installation.
  func pods(of program: String) -> [JSONNode] {
    (pods.value ?? []).filter {
      $0["metadata"]?["namespace"]?.text == Rendering.namespace
        && $0["metadata"]?["labels"]?["app.kubernetes.io/name"]?.text == program
    }
  }
}

extension Fact {
  /// A finding where nothing could be found out.
  func ignorance(of check: String) -> [Finding] {
    guard case .unknown(let reason) = self else { return [] }
    return [
      Finding(
        severity: .warning, check: check, reason: "can't be looked at: \(reason)",
        repair: "let someone with the role weft-inspect, or cluster-admin, run weft check")
    ]
  }
}

extension JSONNode {
  /// The object's name.
  var name: String { self["metadata"]?["name"]?.text ?? "" }
  var namespace: String { self["metadata"]?["namespace"]?.text ?? "" }
  /// Of a pod; empty: it has none yet.
  var nodeName: String { self["spec"]?["nodeName"]?.text ?? "" }
  func label(_ name: String) -> String? { self["metadata"]?["labels"]?[name]?.text }
  func annotation(_ name: String) -> String? { self["metadata"]?["annotations"]?[name]?.text }
}
