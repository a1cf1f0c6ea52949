import Capture
import MeshModel

/// A pod's sandbox on this node: where its sockets live.
public struct PodSandbox: Hashable, Sendable {
  /// The workload's id.
  public var uid: String
  public var namespace: String
  public var name: String
  /// The network namespace's file, as in /run/netns or /proc/PID/ns; empty where it is `open`.
  public var networkNamespace: String
  /// The cgroup's folder; empty where not known.
  public var cgroup: String
  public var addresses: [IPAddress]
  /// Held open by the source: no path can lead to another by now.
  var open: OpenNamespace?

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

/// A namespace by its identity.
public struct OpenNamespace: Hashable, Sendable {
  public let value: NetworkNamespace

  public init(_ value: NetworkNamespace) { self.value = value }

  public static func == (left: Self, right: Self) -> Bool { left.value.cookie == right.value.cookie }
  public func hash(into hasher: inout Hasher) { hasher.combine(value.cookie) }
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

  // A source that knows pods by their UID alone tells these in place of the first two.

  /// The cgroups in which pods are, by the kernel's ids, and their paths: all of them.
  case podsFolders([UInt64: String])
  /// A pod's cgroup, before any of its processes.
  case folderAppeared(PodFolder)
  case folderVanished(cgroup: UInt64)
  /// The pod's network, with 1 to 8 addresses.
  case sandboxAppeared(cgroup: UInt64, OpenNamespace, [IPAddress])
  /// Its last process has left it.
  case sandboxVanished(cgroup: UInt64)
}

/// A pod's cgroup on this node.
public struct PodFolder: Hashable, Sendable {
  /// The Pod's UID; of a static pod its file's hash.
  public var uid: String
  /// The kernel's id.
  public var cgroup: UInt64
  public var path: String
  /// It has containers.
  public var isRunning: Bool
}

/// Finds the pods of this node: in a folder (the lab), or in the cgroup tree (Kubernetes).
public protocol PodSource: Sendable {
  /// Ends when its task is cancelled.
  func events() -> AsyncStream<PodEvent>
}
