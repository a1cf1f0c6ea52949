import MeshModel

/// A pod's sandbox on this node: where its sockets live.
public struct PodSandbox: Hashable, Sendable {
  /// The workload's id.
  public var uid: String
  public var namespace: String
  public var name: String
  /// The network namespace's file, as in /run/netns or /proc/PID/ns.
  public var networkNamespace: String
  /// The cgroup's folder; empty where not known.
  public var cgroup: String
  public var addresses: [IPAddress]

  public init(
    uid: String, namespace: String, name: String, networkNamespace: String, cgroup: String, addresses: [IPAddress]
  ) {
    self.uid = uid
    self.namespace = namespace
    self.name = name
    self.networkNamespace = networkNamespace
    self.cgroup = cgroup
    self.addresses = addresses
  }
}

public enum PodEvent: Hashable, Sendable {
  /// New, or known with other facts.
  case appeared(PodSandbox)
  case vanished(uid: String)
  /// Every pod that was there at the start has been told.
  case synchronized
  /// Something in the source can't be used; the pods known stay. `of` names it until it is `repaired`.
  case problem(of: String, String)
  /// What could not be used can be, or is gone.
  case repaired(of: String)
}

/// Finds the pods of this node: in a folder (the lab), or in the cgroup tree (Kubernetes).
public protocol PodSource: Sendable {
  /// Ends when its task is cancelled.
  func events() -> AsyncStream<PodEvent>
}
