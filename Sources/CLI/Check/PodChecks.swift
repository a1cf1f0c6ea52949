import KubernetesAPI

/// Pods that are to be in the mesh and aren't captured, and why.
enum PodChecks {
  static func findings(_ facts: ClusterFacts) -> [Finding] {
    let check = "pods"
    guard let pods = facts.pods.value else { return facts.pods.ignorance(of: check) }
    guard let namespaces = facts.namespaces.value else { return facts.namespaces.ignorance(of: check) }
    let byName = Dictionary(namespaces.map { ($0.name, $0) }) { first, _ in first }
    let meshed = pods.filter { pod in
      guard pod.namespace != Rendering.namespace, let phase = pod["status"]?["phase"]?.text else { return false }
      return isMeshed(pod, byName[pod.namespace]) && (phase == "Running" || phase == "Pending")
        && pod["metadata"]?["deletionTimestamp"] == nil
    }
    let findings = meshed.compactMap { finding($0, namespace: byName[$0.namespace], facts) }
    let captured = meshed.count - findings.count
    return findings.isEmpty ? [.ok(check, "\(captured) in the mesh, all captured")] : findings.cut()
  }

  static func isMeshed(_ pod: JSONNode, _ namespace: JSONNode?) -> Bool {
    (pod.label("weft.dev/mesh") ?? namespace?.label("weft.dev/mesh")) == "enabled"
  }

  private static func finding(_ pod: JSONNode, namespace: JSONNode?, _ facts: ClusterFacts) -> Finding? {
    let name = "\(pod.namespace)/\(pod.name)"
    func finding(_ severity: Finding.Severity, _ reason: String, _ repair: String = "") -> Finding {
      Finding(severity: severity, check: "pods", place: "pod \(name)", reason: reason, repair: repair)
    }
    // It has no address of its own that could be captured.
    if pod["spec"]?["hostNetwork"] == .truth(true) {
      return finding(
        .warning, "isn't captured: it lives in its node's network",
        "kubectl -n \(pod.namespace) label pod \(pod.name) weft.dev/mesh=disabled")
    }
    // A tunnel stub captures its pod by itself; a handoff stub's pod is enrolled by the agent.
    let stub = pod.annotation("weft.dev/injected")
    if stub == "tunnel" { return nil }
    let mode = pod.label("weft.dev/mode") ?? namespace?.label("weft.dev/mode")
    if mode == "stub", stub == nil {
      return finding(.error, "is to have a stub and has none: it was made before its label", restart(pod))
    }
    guard let node = pod["spec"]?["nodeName"]?.text else { return nil }
    guard let agent = facts.agents.first(where: { $0.node == node }) else {
      return finding(.error, "isn't captured: no agent runs on its node \(node)", "see agents, above")
    }
    guard case .success = agent.status else {
      return finding(.error, "isn't known to be captured: the agent of \(node) doesn't answer", "see agents, above")
    }
    guard let workload = agent.workloads.first(where: { $0.namespace == pod.namespace && $0.name == pod.name }) else {
      return finding(
        .error, "isn't captured: the agent of \(node) hasn't heard of it from the control plane",
        "weft status --node \(node)")
    }
    let because = workload.reason.flatMap { $0.isEmpty ? nil : ": \($0)" } ?? ""
    switch workload.state {
    case "enrolled": return nil
    case "pending" where pod["status"]?["phase"]?.text == "Pending": return nil
    case "unmeshed":
      return finding(.error, "isn't captured: its agent doesn't count it to the mesh", "weft check again")
    default:
      return finding(
        .error, "isn't captured, and its connections are held (\(workload.state))\(because)",
        "weft check --node \(node) says what the node lacks; enrolment is tried again by itself")
    }
  }

  private static func restart(_ pod: JSONNode) -> String {
    let owner = pod["metadata"]?["ownerReferences"]?.elements.first
    let name = owner?["name"]?.text ?? ""
    switch owner?["kind"]?.text {
    case "ReplicaSet":
      let hash = pod.label("pod-template-hash") ?? ""
      let deployment = name.hasSuffix("-\(hash)") ? String(name.dropLast(hash.count + 1)) : name
      return "kubectl -n \(pod.namespace) rollout restart deployment/\(deployment)"
    case "DaemonSet", "StatefulSet":
      return "kubectl -n \(pod.namespace) rollout restart \(owner?["kind"]?.text?.lowercased() ?? "")/\(name)"
    default: return "make the pod again"
    }
  }
}
