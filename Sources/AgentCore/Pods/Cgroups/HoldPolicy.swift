import Capture
import MeshModel

/// Whether a pod's sockets are refused before its network is captured. Pure: times are monotonic nanoseconds.
///
/// Two duties meet here. A pod of the mesh must never send in plaintext, so whoever isn't known is held. But what isn't
/// meshed must not depend on the mesh, so an unknown pod is held for a bounded time only, unless something says that it belongs
/// to the mesh: its namespace has meshed pods, or it was known as meshed before.
struct HoldPolicy: Sendable {
  /// How long an unknown pod is held while the control plane is away.
  var holdUnknown: UInt64 = 10_000_000_000
  /// Namespaces whose pods pass while unknown: those that the cluster and the mesh itself need to come back.
  var unheldNamespaces: Set<String> = ["kube-system", "weft-system"]
  /// Whether this agent may enter pods' network namespaces: otherwise it serves only those whose stubs open their sockets.
  var entersPods = true

  /// With the control plane there its word comes; the bound is for one that knows no UIDs.
  static let patience: UInt64 = 6

  static let mayNotEnter =
    "its node's agent runs without SYS_ADMIN and may not enter it: it needs a stub, weft.dev/mode: stub"

  struct Facts: Sendable {
    var workload: Workload?
    var isEnrolled = false
    /// It was known as meshed, and nobody names it any more.
    var wasMeshed = false
    /// An agent before this one enrolled it, and this one has said nothing else since.
    var wasEnrolled = false
    /// It ran when the first agent of this node started, or an agent before let it pass.
    var wasThere = false
    /// Where its namespace is known by other means than the control plane.
    var namespace: String?
    var namespaceIsMeshed = false
    var isConnected = false
    var seenAt: UInt64 = 0
  }

  func verdict(_ facts: Facts, now: UInt64) -> (verdict: CgroupVerdict, reason: String) {
    if let workload = facts.workload {
      if workload.usesHostNetwork { return (.passes, "it uses its node's network") }
      guard workload.isMeshed else { return (.passes, "it isn't meshed") }
      if workload.mode == .stubTunnel { return (.passes, "its stub carries it") }
      if facts.isEnrolled { return (.enrolled, "") }
      guard entersPods || workload.mode == .stubHandoff else { return (.held, Self.mayNotEnter) }
      // The verdict holds in a network that is captured, and in no other.
      return facts.wasEnrolled
        ? (.enrolled, "an agent before this one enrolled it") : (.held, "it isn't enrolled yet")
    }
    if facts.wasMeshed { return (.held, "it was meshed, and the control plane names it no more") }
    if facts.wasEnrolled { return (.enrolled, "an agent before this one enrolled it") }
    if facts.wasThere { return (.passes, "it ran before this node's agent") }
    if let namespace = facts.namespace {
      if unheldNamespaces.contains(namespace) {
        return (.passes, "the namespace \(namespace) isn't held while its pods are unknown")
      }
      if facts.namespaceIsMeshed {
        return (.held, "the namespace \(namespace) has meshed pods, and the control plane hasn't told of this one")
      }
    }
    let bound = holdUnknown * (facts.isConnected ? Self.patience : 1)
    guard now >= facts.seenAt + bound else { return (.held, "the control plane hasn't told of it yet") }
    return (.passes, "the control plane hasn't told of it in \(bound / 1_000_000_000) s")
  }
}
