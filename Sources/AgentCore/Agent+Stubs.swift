import Capture
import Foundation
import MeshModel

/// Pods in handoff mode: their stubs open their sockets, and show the agent pods whose namespaces it may not enter.
extension Agent {
  /// A stub has connected and said in which namespace it lives.
  func appeared(_ link: StubLink) async {
    await waitForProxy()
    // One that has ended meanwhile has been told gone already.
    guard !isEnding, link.isOpen, let namespace = link.namespace else { return link.close("the agent is ending") }
    guard let workload = workload(of: link.peer) else {
      return link.refuse("no workload of this node is known for the process \(link.peer.pid) yet")
    }
    let uid = workload.id
    guard workload.mode == .stubHandoff, workload.isCarried(on: configuration.node) else {
      return link.refuse("the pod \(uid) isn't meshed in handoff mode on this node")
    }
    guard namespace.cookie != home.cookie else { return link.refuse("the pod \(uid) lives in its node's network") }
    if let pod = pods[uid], let known = pod.namespace ?? pod.sandbox.open?.value, known.cookie != namespace.cookie {
      guard stubMade[uid] != nil else {
        return link.refuse("the stub lives in another network namespace than its pod \(uid)")
      }
      vanished(uid)
    }
    // The kubelet tells no address before the stub's start is over, which waits for this.
    guard pods[uid] != nil || !addresses(of: workload, link).isEmpty else {
      return link.refuse("the address of the pod \(uid) isn't known yet")
    }
    let before = stubs.updateValue(link, forKey: uid)
    before?.close("another stub took its place")
    logger.info("the pod's stub is connected", metadata: ["pod": "\(uid)", "process": "\(link.peer.pid)"])
    if pods[uid] == nil { show(workload, link, namespace) } else { resume(uid) }
  }

  private func workload(of peer: StubPeer) -> Workload? {
    if let place = peer.place, let workload = mesh.workload(podUID: place.podUID) { return workload }
    // A source that knows folders, not UIDs.
    guard let cgroup = peer.cgroup else { return nil }
    let pod = pods.first {
      !$0.value.sandbox.cgroup.isEmpty && (cgroup + "/").hasPrefix($0.value.sandbox.cgroup + "/")
    }
    return pod.flatMap { mesh.workloads[$0.key] }
  }

  /// What the control plane says, or else the namespace itself.
  private func addresses(of workload: Workload, _ link: StubLink) -> [IPAddress] {
    workload.addresses.isEmpty ? link.addresses : workload.addresses
  }

  /// The folder of the stub's own cgroup, and its pod's. Where the source has found the pod in the tree, its path leads there,
  /// however the tree is mounted here.
  private func folders(of peer: StubPeer) -> (own: String, pod: String)? {
    guard let place = peer.place else { return peer.cgroup.map { ($0, $0) } }
    if let found = cgroupPods.pods.values.first(where: { $0.folder.uid == place.podUID })?.folder.path {
      return (found + place.below, found)
    }
    return peer.cgroup.map { ($0, String($0.dropLast(place.below.utf8.count))) }
  }

  /// Nobody has found the pod otherwise.
  private func show(_ workload: Workload, _ link: StubLink, _ namespace: NetworkNamespace) {
    var sandbox = PodSandbox(
      uid: workload.id, namespace: workload.namespace, name: workload.name, networkNamespace: "",
      cgroup: folders(of: link.peer)?.pod ?? "", addresses: addresses(of: workload, link))
    sandbox.open = OpenNamespace(namespace)
    stubMade[workload.id] = link.peer.place?.podUID ?? ""
    appeared(sandbox)
  }

  /// What waited for the stub goes on; a proxy that serves gets its sockets.
  private func resume(_ uid: String) {
    if let actions = pods[uid]?.lifecycle.tick(now: .max) { perform(actions, uid) }
    guard let pod = pods[uid], !pod.listeners.isEmpty else { return }
    attempt("the sockets of a stub") { try serveSockets(uid) }
    if pod.lifecycle.phase == .enrolled { stubs[uid]?.send(.captured) }
    for kind in PodSocketKind.allCases { sendFromReserve(uid, kind, count: 0) }
  }

  private func serveSockets(_ uid: String) throws {
    guard let link = stubs[uid], let namespace = link.namespace else { return }
    guard let folder = folders(of: link.peer)?.own else {
      throw AgentError("the cgroup of its stub, process \(link.peer.pid), isn't found: see --cgroup-root")
    }
    try engine.serveSockets(of: folder, in: namespace)
  }

  /// - Throws: it isn't there.
  func stub(of uid: String, in namespace: NetworkNamespace) throws -> StubLink {
    guard let link = stubs[uid] else {
      throw AgentError(
        "its stub isn't there: handoff mode needs the container weft-stub (weft-stub handoff) in the pod")
    }
    guard link.namespace?.cookie == namespace.cookie else {
      throw AgentError("its stub lives in another network namespace")
    }
    try serveSockets(uid)
    return link
  }

  /// The sockets that it has opened go on.
  func gone(_ link: StubLink, _ reason: String) {
    guard let uid = stubs.first(where: { $0.value === link })?.key else { return }
    stubs[uid] = nil
    logger.warning("the pod's stub is gone", metadata: ["pod": "\(uid)", "reason": "\(reason)"])
  }

  /// Serves the proxy from what is there, at once, and has the stub open what is missing then.
  /// - Parameter count: 0: only the latter.
  func sendFromReserve(_ uid: String, _ kind: PodSocketKind, count: Int, to proxy: ProxyLink? = nil) {
    let taken = reserves[uid, default: SocketReserve()].take(kind, count: count)
    if !taken.isEmpty { pass(taken, kind, of: uid, to: proxy) }
    let missing = count - taken.count
    guard let link = stubs[uid] else {
      if missing > 0 { reserves[uid]?.owe(kind, missing) }
      return
    }
    let hasV6 = pods[uid]?.sandbox.addresses.contains { $0.family == .v6 } ?? false
    let owed = min(128, missing + (reserves[uid]?.settle(kind) ?? 0))
    if owed > 0 { Task { await fetch(uid, kind, link, count: owed, forProxy: true) } }
    let shortage = reserves[uid]?.shortage(kind, hasV6: hasV6) ?? 0
    if shortage > 0 { Task { await fetch(uid, kind, link, count: shortage, forProxy: false) } }
  }

  private func fetch(_ uid: String, _ kind: PodSocketKind, _ link: StubLink, count: Int, forProxy: Bool) async {
    var sockets: [Int32] = []
    do {
      sockets = try await link.open(kind, count: count)
    } catch {
      if forProxy { reserves[uid]?.owe(kind, count) }
      logger.warning("no sockets for a pod", metadata: ["pod": "\(uid)", "error": "\(error)"])
    }
    if forProxy {
      if !sockets.isEmpty { pass(sockets, kind, of: uid) }
    } else if reserves[uid] != nil, pods[uid]?.namespace?.cookie == link.namespace?.cookie {
      reserves[uid]?.answered(kind, asked: count, sockets)
    } else {
      for fd in sockets { close(fd) }
    }
  }

  func dropReserve(_ uid: String) {
    reserves[uid]?.close()
    reserves[uid] = nil
    stubs[uid]?.send(.released)
  }

  /// Pods that only their stubs have shown end with their cgroups.
  func removeStubMade() {
    for uid in stubMade.keys where stubs[uid] == nil {
      if let cgroup = pods[uid]?.sandbox.cgroup, !cgroup.isEmpty, access(cgroup, F_OK) != 0 { vanished(uid) }
    }
  }
}
