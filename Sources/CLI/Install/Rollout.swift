import KubernetesAPI

/// How far a Deployment or DaemonSet is.
struct Rollout: Hashable, Sendable {
  /// Pods of the newest template that are available.
  var ready: Int
  /// How many there should be.
  var wanted: Int
  /// Nothing is left to wait for.
  var isDone: Bool
  /// Why no pod can be made; empty where nothing says so.
  var problem = ""
  /// Nodes that aren't ready and whose pod isn't either: it follows by itself, and isn't waited for.
  var late: [String] = []

  /// Says of a DaemonSet's pod of which template it is.
  static let revisionLabel = "controller-revision-hash"

  static func of(deployment: JSONNode) -> Rollout {
    let status = deployment["status"]
    let wanted = deployment["spec"]?["replicas"]?.integer ?? 1
    let updated = status?["updatedReplicas"]?.integer ?? 0
    let available = status?["availableReplicas"]?.integer ?? 0
    let all = status?["replicas"]?.integer ?? 0
    let isDone = isObserved(deployment) && updated == wanted && available == wanted && all == wanted
    let failure = status?["conditions"]?.elements.first {
      $0["type"]?.text == "ReplicaFailure" && $0["status"]?.text == "True"
    }
    return Rollout(
      ready: isObserved(deployment) ? min(updated, available) : 0, wanted: wanted, isDone: isDone,
      problem: failure?["message"]?.text ?? "")
  }

  static func of(daemonSet: JSONNode) -> Rollout {
    let status = daemonSet["status"]
    let wanted = status?["desiredNumberScheduled"]?.integer ?? 0
    let updated = status?["updatedNumberScheduled"]?.integer ?? 0
    let available = status?["numberAvailable"]?.integer ?? 0
    let isDone = isObserved(daemonSet) && updated == wanted && available == wanted
    return Rollout(ready: isObserved(daemonSet) ? min(updated, available) : 0, wanted: wanted, isDone: isDone)
  }

  /// The same where some nodes aren't ready.
  /// - Parameters:
  ///   - pods: the DaemonSet's.
  ///   - revision: the label of those of the newest template.
  ///   - unready: the nodes' names.
  static func of(daemonSet: JSONNode, pods: [JSONNode], revision: String, unready: Set<String>) -> Rollout {
    var rollout = of(daemonSet: daemonSet)
    guard isObserved(daemonSet), !rollout.isDone else { return rollout }
    func isNew(_ pod: JSONNode) -> Bool { pod.label(revisionLabel) == revision }
    func isReady(_ pod: JSONNode) -> Bool { PodTrouble.reason(pod) == nil }
    let late = pods.filter { unready.contains($0.nodeName) && !(isNew($0) && isReady($0)) }
    // The status counts them where they are one of both: an old one that still runs, a new one that doesn't run yet.
    let updated = (daemonSet["status"]?["updatedNumberScheduled"]?.integer ?? 0) - late.filter(isNew).count
    let available = (daemonSet["status"]?["numberAvailable"]?.integer ?? 0) - late.filter(isReady).count
    rollout.late = Set(late.map(\.nodeName)).sorted()
    rollout.ready = max(0, min(updated, available))
    // Where none runs nobody can say that it works.
    rollout.isDone = rollout.ready > 0 && rollout.ready + rollout.late.count >= rollout.wanted
    return rollout
  }

  /// The status is of this generation of the object.
  private static func isObserved(_ object: JSONNode) -> Bool {
    guard let generation = object["metadata"]?["generation"]?.integer else { return false }
    return object["status"]?["observedGeneration"]?.integer ?? 0 >= generation
  }
}

/// Why a pod isn't ready.
enum PodTrouble {
  /// nil: it is ready.
  static func reason(_ pod: JSONNode) -> String? {
    let status = pod["status"]
    let conditions = status?["conditions"]?.elements ?? []
    if conditions.contains(where: { $0["type"]?.text == "Ready" && $0["status"]?.text == "True" }) { return nil }
    if let unscheduled = conditions.first(where: {
      $0["type"]?.text == "PodScheduled" && $0["status"]?.text == "False"
    }) {
      return "has no node: \(unscheduled["message"]?.text ?? "")"
    }
    let containers = ["initContainerStatuses", "containerStatuses"].flatMap { status?[$0]?.elements ?? [] }
    for container in containers where container["ready"] != .truth(true) {
      let name = container["name"]?.text ?? "a container"
      if let ended = container["lastState"]?["terminated"] ?? container["state"]?["terminated"],
        let code = ended["exitCode"]?.integer, code != 0
      {
        let message = ended["message"]?.text.map { ": \($0.prefix(300))" } ?? ""
        return "\(name) ended with status \(code)\(message)"
      }
      if let waiting = container["state"]?["waiting"] {
        let message = waiting["message"]?.text.map { ": \($0.prefix(300))" } ?? ""
        return "\(name) waits: \(waiting["reason"]?.text ?? "no reason given")\(message)"
      }
    }
    guard containers.isEmpty else { return "isn't ready yet" }
    return pod["spec"]?["nodeName"] == nil
      ? "has no node yet: does the cluster's scheduler run?" : "hasn't been started by its node's kubelet"
  }

  /// `pod on node: reason`, of those that aren't ready, by name, `limit` of them.
  static func lines(_ pods: [JSONNode], limit: Int = 10) -> [String] {
    pods.compactMap { pod in
      guard let reason = reason(pod), let name = pod["metadata"]?["name"]?.text else { return nil }
      let node = pod["spec"]?["nodeName"]?.text.map { " on \($0)" } ?? ""
      return Text.printable("\(name)\(node) \(reason)")
    }.sorted().prefix(limit).map { $0 }
  }
}
