import Capture
import Dispatch
import Foundation
import MeshModel

/// Pods of the cgroup tree: what their state machine asks for is done here.
extension Agent {
  func appeared(_ folder: PodFolder) {
    cgroupPods.appeared(folder, now: DispatchTime.now().uptimeNanoseconds)
    // Its stub was there before the tree was read.
    if let id = stubMade.first(where: { $0.value == folder.uid })?.key, pods[id]?.sandbox.cgroup.isEmpty == true {
      pods[id]?.sandbox.cgroup = folder.path
    }
    settleCgroups(only: folder.cgroup)
  }

  func appeared(_ sandbox: CgroupPods.Sandbox, cgroup: UInt64) {
    cgroupPods.appeared(sandbox, cgroup: cgroup)
    settleCgroups(only: cgroup)
  }

  func found(podsFolders: [UInt64: String]) {
    let gone = podsFolderPaths.keys.filter { podsFolders[$0] == nil }
    podsFolderPaths = podsFolders
    for cgroup in gone {
      engine.releaseInbound(folder: cgroup)
      heldInbound.remove(cgroup)
      problems[Self.inboundProblem(cgroup)] = nil
    }
    perform(cgroupPods.found(podsFolders: Set(podsFolders.keys)))
    holdUnseen()
  }

  func cgroupsAreKnown() {
    settleCgroups()
    perform(cgroupPods.synchronized())
    holdUnseen()
  }

  /// Names, verdicts and holds by what is known now.
  /// - Parameter only: of this pod; nil: of all.
  func settleCgroups(only: UInt64? = nil) {
    guard !cgroupPods.isEmpty, !isEnding else { return }
    let around = CgroupPods.Surroundings(
      mesh: mesh, isConnected: client?.status.connected ?? false,
      isEnrolled: { [pods] in pods[$0]?.lifecycle.phase == .enrolled },
      isEnrolledByStub: { [pods, stubMade] id, folder in
        stubMade[id] == folder.uid && pods[id]?.lifecycle.phase == .enrolled
      })
    perform(cgroupPods.settle(around, now: DispatchTime.now().uptimeNanoseconds, only: only))
  }

  func perform(_ actions: [CgroupPods.Action]) {
    for action in actions {
      switch action {
      case .judge(let cgroup, let verdict):
        attempt("the hold of a pod's cgroup") { try engine.judge(cgroup: cgroup, verdict) }
      case .appeared(let sandbox): appeared(sandbox)
      case .vanished(let uid): vanished(uid)
      case .holdNetwork(let uid, let sandbox):
        attempt("the hold of an unknown pod") {
          try engine.hold(uid: uid, namespace: sandbox.namespace.value, addresses: sandbox.addresses)
        }
      case .releaseNetwork(let uid): attempt("release of a pod") { try engine.release(uid: uid) }
      }
    }
  }

  func tickCgroups(now: UInt64) {
    guard !cgroupPods.isEmpty else { return }
    if !configuration.podLogs.isEmpty {
      let nameless = cgroupPods.nameless(mesh)
      cgroupPods.named(PodLogNames(directory: configuration.podLogs).namespaces(of: nameless))
    }
    settleCgroups()
    if now > unseenHeldAt + 1_000_000_000 { holdUnseen() }
  }

  /// From now on for a bounded time: an agent that is gone for long must not keep the node from starting pods.
  func holdUnseen() {
    guard !cgroupPods.isEmpty else { return }
    unseenHeldAt = DispatchTime.now().uptimeNanoseconds
    attempt("the hold of unseen pods") { try engine.holdUnseen(node: home, seconds: configuration.holdUnseen) }
    if configuration.followsNodeAddresses {
      attempt("the node's addresses") { try engine.set(nodeAddresses: NodeAddresses.own()) }
    }
    guard podsAreKnown else { return }
    // One that failed is tried again.
    for (cgroup, path) in podsFolderPaths where !heldInbound.contains(cgroup) {
      attempt(Self.inboundProblem(cgroup)) {
        try engine.holdInbound(below: path)
        heldInbound.insert(cgroup)
      }
    }
  }

  private static func inboundProblem(_ cgroup: UInt64) -> String {
    "the hold of what is sent to pods of cgroup \(cgroup)"
  }
}
