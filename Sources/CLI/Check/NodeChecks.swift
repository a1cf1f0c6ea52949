import KubernetesAPI

/// Nodes and their agents: which has none and why, kernels, versions, and what each agent itself finds wrong.
enum NodeChecks {
  /// The oldest kernel that agents are made for.
  static let oldestKernel = (5, 15)

  static func findings(_ facts: ClusterFacts) -> [Finding] {
    coverage(facts) + kernels(facts) + agents(facts) + versions(facts)
  }

  // MARK: Coverage

  static func coverage(_ facts: ClusterFacts) -> [Finding] {
    let check = "agents"
    if case .unknown = facts.daemonSet { return facts.daemonSet.ignorance(of: check) }
    guard case .found = facts.daemonSet else {
      if let record = facts.record.value.flatMap({ try? InstallRecord($0) }), !record.overlay.hasAgents {
        return [.ok(check, "none, as installed: \(record.overlay.rawValue)")]
      }
      return [
        Finding(
          severity: .warning, check: check, place: "DaemonSet weft-system/weft-agent",
          reason: "isn't there: only pods with a stub are in the mesh", repair: "weft install")
      ]
    }
    guard let nodes = facts.nodes.value else { return facts.nodes.ignorance(of: check) }
    let pods = facts.pods(of: "weft-agent")
    var findings: [Finding] = []
    let linux = nodes.filter(isLinux)
    let meant = linux.filter { !AgentNodes.isLeftOut($0) }
    for node in meant {
      guard !AgentNodes.isUnready(node) else {
        let message = AgentNodes.readiness(node)?["message"]?.text ?? ""
        findings.append(
          Finding(
            severity: .warning, check: check, place: "node \(node.name)",
            reason: "isn't ready\(message.isEmpty ? "" : " (\(message))"); its agent follows by itself once it is",
            repair: "kubectl describe node \(node.name)"))
        continue
      }
      let own = pods.filter { $0.nodeName == node.name }
      guard let pod = own.first else {
        findings.append(
          Finding(
            severity: .error, check: check, place: "node \(node.name)", reason: "no pod of the DaemonSet is on it",
            repair: "kubectl -n weft-system describe daemonset weft-agent; \(leavingOut(node))"))
        continue
      }
      guard !own.contains(where: { PodTrouble.reason($0) == nil }), let reason = PodTrouble.reason(pod) else {
        continue
      }
      findings.append(
        Finding(
          severity: .error, check: check, place: "node \(node.name)", reason: "its agent \(pod.name) \(reason)",
          repair: "kubectl -n weft-system logs \(pod.name) --all-containers --tail=50; \(leavingOut(node))"))
    }
    let result: [Finding] =
      findings.isEmpty ? [.ok(check, "\(meant.count) of \(meant.count) nodes have one")] : findings.cut()
    guard let remark = AgentNodes.remark(leftOut: linux.filter(AgentNodes.isLeftOut).map(\.name)) else { return result }
    return result + [.ok(check, remark)]
  }

  private static func isLinux(_ node: JSONNode) -> Bool { (node.label("kubernetes.io/os") ?? "linux") == "linux" }

  private static func leavingOut(_ node: JSONNode) -> String {
    "where no agent can run: kubectl label node \(node.name) \(AgentNodes.label)=disabled"
  }

  // MARK: Kernels

  static func kernels(_ facts: ClusterFacts) -> [Finding] {
    guard let nodes = facts.nodes.value else { return [] }
    let old = nodes.filter { node in
      guard isLinux(node), !AgentNodes.isLeftOut(node),
        let kernel = node["status"]?["nodeInfo"]?["kernelVersion"]?.text, let version = kernelVersion(kernel)
      else { return false }
      return version < oldestKernel
    }.map { node in
      Finding(
        severity: .error, check: "kernels", place: "node \(node.name)",
        reason: "runs Linux \(node["status"]?["nodeInfo"]?["kernelVersion"]?.text ?? ""): agents need 5.15 or newer",
        repair:
          "a newer kernel, or no agent there: kubectl label node \(node.name) \(AgentNodes.label)=disabled, with stubs for its "
          + "pods: kubectl label namespace NAMESPACE weft.dev/mode=stub")
    }
    return old.isEmpty ? [.ok("kernels", "5.15 or newer")] : old.cut()
  }

  /// `6.1.0-13-amd64` is 6.1.
  static func kernelVersion(_ text: String) -> (Int, Int)? {
    let numbers = text.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
    return numbers.count == 2 ? (numbers[0], numbers[1]) : nil
  }

  // MARK: What agents say

  static func agents(_ facts: ClusterFacts) -> [Finding] {
    var findings: [Finding] = []
    let unready = Set((facts.nodes.value ?? []).filter(AgentNodes.isUnready).map(\.name))
    for agent in facts.agents {
      let place = "node \(agent.node)"
      switch agent.status {
      // Its node is told of above.
      case .failure where unready.contains(agent.node): break
      case .failure(let failure):
        findings.append(
          Finding(
            severity: .error, check: "agents", place: place, reason: failure.message,
            repair: "kubectl -n weft-system get pods -o wide --field-selector spec.nodeName=\(agent.node)"))
      case .success(let status):
        for rejected in status.snapshot.rejected {
          findings.append(
            Finding(
              severity: .error, check: "configuration", place: place,
              reason: "refuses \(rejected.name): \(rejected.reason); its last good version stays in force",
              repair: "correct the object; if it is right, weft and its agents are of different versions: weft version")
          )
        }
      }
      // Pods are told of one by one below, and what is refused above.
      for entry in agent.checks where !entry.ok && entry.name != "pods" && entry.name != "configuration" {
        findings.append(
          Finding(
            severity: .error, check: entry.name, place: place, reason: entry.detail, repair: entry.repair ?? ""))
      }
    }
    return findings.cut()
  }

  // MARK: Versions

  static func versions(_ facts: ClusterFacts) -> [Finding] {
    let check = "versions"
    let agents = facts.agents.compactMap { agent in
      (try? agent.status.get()).map { (place: "agent of \(agent.node)", version: $0.version) }
    }
    let controls = facts.controlVersions.sorted { $0.key < $1.key }.map { (place: $0.key, version: $0.value) }
    let all = controls + agents
    guard !all.isEmpty else { return [] }
    let found = Set(all.map(\.version))
    if found.count > 1 {
      let list = found.sorted().map { version in
        let places = all.filter { $0.version == version }.map(\.place)
        let more = places.count > 3 ? " and \(places.count - 3) more" : ""
        return "\(version): \(places.prefix(3).joined(separator: ", "))\(more)"
      }
      return [
        Finding(
          severity: .error, check: check,
          reason:
            "the installation is of several versions (\(list.joined(separator: "; "))): a rollout is under way, or stuck",
          repair: "kubectl -n weft-system rollout status daemonset/weft-agent; weft upgrade")
      ]
    }
    guard let version = found.first, version != facts.version else {
      return [.ok(check, "\(facts.version) everywhere")]
    }
    return [
      Finding(
        severity: .warning, check: check, reason: "this weft is \(facts.version), the installation \(version)",
        repair: "weft upgrade, or use weft \(version)")
    ]
  }
}
