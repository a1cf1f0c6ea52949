import KubernetesAPI

/// What can be known of a cluster before Weft is installed: the checks of `weft check --pre`. Each says what was found and,
/// where it isn't in order, how to repair it.
enum Preflight {
  static let oldestKernel = (5, 15)

  /// What an installer does, as the API names it.
  struct Right: Hashable, Sendable {
    var verb: String
    var kind: InstallKind
  }

  static let rights: [Right] =
    InstallKind.allCases.flatMap { kind in ["create", "get", "patch"].map { Right(verb: $0, kind: kind) } }
    // A role may be given only by who has its rights, or these.
    + ["escalate", "bind"].map { Right(verb: $0, kind: .clusterRole) }

  static func server(_ version: ServerVersion) -> CheckAnswer.Entry {
    var detail = "Kubernetes \(version)"
    if version < ServerVersion(minor: 25) {
      detail += ", which doesn't know CEL: what these rules would refuse, weft-control refuses in the object's status"
    }
    return entry("API server", version >= .oldest, detail, "Weft needs \(ServerVersion.oldest) or newer")
  }

  static func rights(missing: [Right]) -> CheckAnswer.Entry {
    let names = missing.map { "\($0.verb) \($0.kind.plural)" }
    return entry(
      "rights", missing.isEmpty,
      missing.isEmpty ? "of this user are enough" : "of this user don't suffice: \(names.joined(separator: ", "))",
      "install as a cluster administrator, such as of ClusterRole cluster-admin")
  }

  /// - Parameter nodes: of the API.
  static func kernels(_ nodes: [JSONNode]) -> CheckAnswer.Entry {
    var old: [String] = []
    var leftOut: [String] = []
    for node in nodes {
      let name = node["metadata"]?["name"]?.text ?? ""
      let info = node[["status", "nodeInfo"]]
      let kernel = info?["kernelVersion"]?.text ?? ""
      if let system = info?["operatingSystem"]?.text, system != "linux" { continue }
      guard !AgentNodes.isLeftOut(node) else {
        leftOut.append(name)
        continue
      }
      if !isNewEnough(kernel) { old.append("\(name) has \(kernel.isEmpty ? "an unknown kernel" : kernel)") }
    }
    let wanted = "\(oldestKernel.0).\(oldestKernel.1)"
    guard !nodes.isEmpty else {
      return entry("nodes", false, "there are none", "add nodes, or check the rights to list them")
    }
    var detail =
      old.isEmpty
      ? "\(nodes.count), with kernels from \(wanted) on; they don't tell their cgroup version, which has to be 2"
      : "an agent needs Linux \(wanted): \(old.prefix(10).joined(separator: ", "))"
    if let remark = AgentNodes.remark(leftOut: leftOut) { detail += "; \(remark)" }
    return entry(
      "nodes", old.isEmpty, detail,
      "leave such a node without an agent: kubectl label node NODE \(AgentNodes.label)=disabled; pods there take part by a "
        + "stub of their own (weft.dev/mode: stub)")
  }

  static func isNewEnough(_ kernel: String) -> Bool {
    let parts = kernel.split(separator: ".", maxSplits: 2).prefix(2).map {
      Int($0.prefix { $0.isASCII && $0.isNumber })
    }
    guard parts.count == 2, let major = parts[0], let minor = parts[1] else { return false }
    return (major, minor) >= oldestKernel
  }

  static func gateway(missing: [String]) -> CheckAnswer.Entry {
    entry(
      "Gateway API", missing.isEmpty,
      missing.isEmpty
        ? "HTTPRoute, GRPCRoute and ReferenceGrant are there" : "not installed: \(missing.joined(separator: ", "))",
      "kubectl apply -f https://github.com/kubernetes-sigs/gateway-api/releases/latest/download/standard-install.yaml "
        + "(Weft works without them, and takes routes as soon as they are there)")
  }

  static func existing(_ version: String?) -> CheckAnswer.Entry {
    entry("installation", true, version.map { "Weft \($0) is installed: weft upgrade changes it" } ?? "none yet")
  }

  /// - Parameters:
  ///   - namespace: nil: it doesn't exist yet.
  ///   - policies: how many PodSecurityPolicies there are.
  static func podSecurity(_ namespace: JSONNode?, policies: Int) -> CheckAnswer.Entry {
    let label = "pod-security.kubernetes.io/enforce"
    if let level = namespace?[["metadata", "labels"]]?[label]?.text, level != "privileged" {
      return entry(
        "Pod Security", false, "\(Rendering.namespace) enforces \(level), and an agent is refused there",
        "weft install sets it to privileged; with --overlay stub-only there are no agents")
    }
    guard policies == 0 else {
      return entry(
        "Pod Security", true,
        "there are \(policies) PodSecurityPolicies; one has to allow weft-agent its host mounts and capabilities")
    }
    return entry("Pod Security", true, "nothing refuses agents")
  }

  private static func entry(_ name: String, _ ok: Bool, _ detail: String, _ repair: String = "") -> CheckAnswer.Entry {
    CheckAnswer.Entry(name: name, ok: ok, detail: detail, repair: ok || repair.isEmpty ? nil : repair)
  }
}
