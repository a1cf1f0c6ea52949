import Injection
import KubernetesAPI

/// Pods that are to be in the mesh and aren't captured, and why.
enum PodChecks {
  static func findings(_ facts: ClusterFacts) -> [Finding] {
    let check = "pods"
    guard let pods = facts.pods.value else { return facts.pods.ignorance(of: check) }
    guard let namespaces = facts.namespaces.value else { return facts.namespaces.ignorance(of: check) }
    let modes = StubModes(namespaces: namespaces, accounts: facts.accounts.value ?? [])
    let meshed = pods.filter { pod in
      guard pod.namespace != Rendering.namespace, let phase = pod["status"]?["phase"]?.text,
        facts.node == nil || pod["spec"]?["nodeName"]?.text == facts.node
      else { return false }
      return modes.isMeshed(pod) && (phase == "Running" || phase == "Pending")
        && pod["metadata"]?["deletionTimestamp"] == nil
    }
    let findings = meshed.compactMap { finding($0, hasStubMode: modes.isStub($0), facts) }
    let captured = meshed.count - findings.count
    return findings.isEmpty ? [.ok(check, "\(captured) in the mesh, all captured")] : findings.cut()
  }

  private static func finding(_ pod: JSONNode, hasStubMode: Bool, _ facts: ClusterFacts) -> Finding? {
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
    if stub == nil, hasStubMode {
      return finding(.error, "is to have a stub and has none: it was made before its label", restart(pod))
    }
    if stub == "tunnel" {
      guard pod["status"]?["phase"]?.text == "Running", !hasReadyStub(pod) else { return nil }
      return finding(
        .error, "its stub isn't ready, and carries nothing",
        "kubectl -n \(pod.namespace) logs \(pod.name) -c \(InjectionNames.stub)")
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

  /// In either list, as a native sidecar or not; a status that tells nothing of it says nothing against it.
  private static func hasReadyStub(_ pod: JSONNode) -> Bool {
    let statuses = ["containerStatuses", "initContainerStatuses"].flatMap { pod["status"]?[$0]?.elements ?? [] }
    let stub = statuses.first { $0["name"]?.text == InjectionNames.stub }
    return stub.map { $0["ready"] == .truth(true) } ?? true
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

/// Which pods are to have a stub, as the injector decides it.
private struct StubModes {
  private let namespaces: [String: ObjectMarks]
  private let accounts: [String: ObjectMarks]

  init(namespaces: [JSONNode], accounts: [JSONNode]) {
    func marks(_ objects: [JSONNode], _ name: (JSONNode) -> String) -> [String: ObjectMarks] {
      Dictionary(objects.map { (name($0), ObjectMarks(metadata: $0["metadata"])) }) { first, _ in first }
    }
    self.namespaces = marks(namespaces, \.name)
    self.accounts = marks(accounts) { "\($0.namespace)/\($0.name)" }
  }

  func isStub(_ pod: JSONNode) -> Bool {
    let account = pod["spec"]?["serviceAccountName"]?.text ?? "default"
    let choice = try? StubChoice(
      pod: ObjectMarks(metadata: pod["metadata"]), account: accounts["\(pod.namespace)/\(account)"] ?? ObjectMarks(),
      namespace: namespaces[pod.namespace] ?? ObjectMarks())
    if case .stub = choice { return true } else { return false }
  }

  func isMeshed(_ pod: JSONNode) -> Bool {
    let label = InjectionNames.mesh
    let isLabelled = (pod.label(label) ?? namespaces[pod.namespace]?.labels[label]) == "enabled"
    return isLabelled || isStub(pod) || pod.annotation(InjectionNames.injected) != nil
  }
}
