import Foundation

/// What a pod has before its first container: cgroup, network namespace, and a process that holds both.
struct Sandbox: Sendable {
  var uid: String
  var pod: PodName
  var node: LabState.Node
  /// nil: the node's network.
  var given: AddressPool.Given?
  /// The pod's.
  var cgroup: String
  var networkNamespace: String
  var addresses: [String]
  var pause: ProcessRecord?
  let names: CgroupNames

  /// Makes everything, in a kubelet's order: the pod's cgroup, its network, then the process in a leaf of its own.
  /// - Throws: `LabError`; what was made is then removed.
  static func make(_ spec: PodSpec, node: LabState.Node, _ context: KubeletContext) throws -> Sandbox {
    let layout = context.layout
    let names = CgroupNames(runtime: node.runtime ?? LabState.NodeRuntime())
    let given = spec.usesHostNetwork ? nil : context.addresses.take(node: node.index)
    if !spec.usesHostNetwork, given == nil { throw LabError("node \(node.name) has no address left for a pod") }
    var sandbox = Sandbox(
      uid: spec.uid, pod: spec.id, node: node, given: given,
      cgroup: "\(node.cgroup)/\(names.pod(uid: spec.uid, qos: spec.qos))",
      networkNamespace: given.map { layout.podNamespace($0.index) } ?? node.networkNamespace,
      addresses: given.map { [$0.address] } ?? [node.addresses[0]], pause: nil, names: names)
    do {
      // What an earlier kubelet left of it goes first.
      try Cgroup.killAll(sandbox.cgroup)
      try Cgroup.make(sandbox.cgroup)
      if given != nil { try context.maker().makeNetwork(of: [sandbox.record(spec)]) }
      let leaf = "\(sandbox.cgroup)/\(names.leaf(CgroupNames.newID()))"
      try Cgroup.make(leaf)
      var launch = Launch(
        path: try Programs.path("weft-lab"), arguments: ["pause"], environment: ["PATH=/usr/bin:/bin"])
      launch.networkNamespace = layout.namespacePath(sandbox.networkNamespace)
      launch.nodeNamespace = layout.namespacePath(node.networkNamespace)
      launch.cgroup = leaf
      launch.hasOwnProcesses = spec.sharesProcesses
      let pid = try launch.spawn()
      sandbox.pause = ProcessRecord(pid: pid)
      ChildExit.watch(pid) { _ in }
      context.containers.set(sandbox.record(spec), uid: spec.uid)
      return sandbox
    } catch {
      try? sandbox.remove(context)
      throw error
    }
  }

  /// Ends every process of the pod and removes its network and cgroup; its folder stays.
  func remove(_ context: KubeletContext) throws {
    try Cgroup.killAll(cgroup)
    if let given {
      try NetworkNamespace.remove(networkNamespace)
      // The namespace's end takes the link away too, but later than its name may be needed again.
      _ = try? Tool.run("ip", ["-n", node.networkNamespace, "link", "del", "v\(given.index)"])
    }
    try Cgroup.remove(cgroup)
    if let given { context.addresses.giveBack(given) }
  }

  func record(_ spec: PodSpec) -> LabState.Pod {
    LabState.Pod(
      id: pod, node: node.name, index: given?.index ?? -1, slot: given?.slot ?? -1, networkNamespace: networkNamespace,
      addresses: addresses, cgroup: cgroup, isMeshed: spec.labels[LabInput.meshLabel] == "enabled",
      hostname: spec.hostname, defaultContainer: spec.annotations["kubectl.kubernetes.io/default-container"])
  }
}
