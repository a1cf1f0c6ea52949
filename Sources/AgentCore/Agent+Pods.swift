import Capture
import DiscoveryAPI
import Dispatch
import Foundation
import MeshModel

/// Pods: what their lifecycles ask for is done here.
extension Agent {
  func appeared(_ sandbox: PodSandbox) {
    if let known = pods[sandbox.uid] {
      if stubMade[sandbox.uid] != nil, let open = sandbox.open, known.sandbox.open == open {
        // The source has found by itself what the stub had shown.
        stubMade[sandbox.uid] = nil
        pods[sandbox.uid]?.sandbox = sandbox
        if known.captured != nil, known.sandbox.addresses != sandbox.addresses { perform([.capture], sandbox.uid) }
        return
      }
      guard
        known.sandbox != sandbox || (sandbox.open == nil && isAnother(known.namespace, at: sandbox.networkNamespace))
      else { return }
      vanished(sandbox.uid)
    }
    pods[sandbox.uid] = Pod(sandbox: sandbox, foundAt: DispatchTime.now().uptimeNanoseconds)
    logger.info("pod found", metadata: ["pod": "\(sandbox.uid)"])
    // Mostly known before the pod is there.
    if !isNeedKnown(of: sandbox.uid) { updateNeeds() }
    evaluate(sandbox.uid)
  }

  /// Whether the path leads to another namespace now: a pod made anew under its old name.
  private func isAnother(_ namespace: NetworkNamespace?, at path: String) -> Bool {
    guard let namespace, let now = try? NetworkNamespace(path: path) else { return false }
    return now.cookie != namespace.cookie
  }

  func vanished(_ uid: String) {
    guard pods[uid] != nil else { return }
    release(uid)
    // What the proxy still carries for it, also from before it left the mesh, ends.
    link?.send(.with { $0.removePod.uid = uid })
    logger.info("pod gone", metadata: ["pod": "\(uid)"])
    updateNeeds()
  }

  func release(_ uid: String) {
    perform(pods[uid]?.lifecycle.set(wanted: false, hasIdentity: false) ?? [], uid)
    pods[uid] = nil
    stubMade[uid] = nil
  }

  func evaluateAll() {
    // Before as well: what leaves the mesh passes before its network is let go.
    settleCgroups()
    for uid in Array(pods.keys) { evaluate(uid) }
    settleCgroups()
  }

  func evaluate(_ uid: String) {
    guard pods[uid] != nil else { return }
    let workload = mesh.workloads[uid]
    let isWanted = workload.map { $0.isCarried(on: configuration.node) } ?? false
    let identity = workload.flatMap { mesh.identity(of: $0) }.flatMap { identities.held($0) }
    perform(pods[uid]?.lifecycle.set(wanted: isWanted, hasIdentity: identity != nil) ?? [], uid)
    guard let workload, let pod = pods[uid], pod.lifecycle.phase == .enrolled, pod.captured != .init(workload) else {
      return
    }
    perform([.capture], uid)
  }

  func perform(_ actions: [PodLifecycle.Action], _ uid: String) {
    for action in actions {
      do {
        try perform(action, uid)
      } catch {
        return failed(uid, error)
      }
    }
  }

  /// Holds the pod until the step that failed is tried again.
  func failed(_ uid: String, _ error: any Error) {
    logger.error("pod not enrolled", metadata: ["pod": "\(uid)", "error": "\(error)"])
    for action in pods[uid]?.lifecycle.failed("\(error)", now: DispatchTime.now().uptimeNanoseconds) ?? [] {
      do {
        try perform(action, uid)
      } catch {
        logger.error("pod not held", metadata: ["pod": "\(uid)", "error": "\(error)"])
        pods[uid]?.lifecycle.holdFailed("\(error)")
      }
    }
  }

  private func perform(_ action: PodLifecycle.Action, _ uid: String) throws {
    guard let pod = pods[uid] else { return }
    switch action {
    case .hold:
      // A pod that the agent before this one enrolled is served: it stays so.
      guard adopted[uid] == nil else { return }
      try engine.hold(uid: uid, namespace: try namespace(of: uid), addresses: pod.sandbox.addresses)
    case .openListeners: try openListeners(uid)
    case .handToProxy: hand(uid)
    case .capture:
      let facts = Pod.Captured(mesh.workloads[uid])
      try engine.enrol(
        PodEnrolment(
          uid: uid, namespace: try namespace(of: uid), addresses: pod.sandbox.addresses,
          inboundListener: pod.listeners[PodListener.inbound.rawValue], failMode: facts.failMode,
          probePorts: facts.probePorts))
      if pod.captured == nil {
        logger.info("pod enrolled", metadata: ["pod": "\(uid)"])
        offerSockets(uid)
      }
      pods[uid]?.captured = facts
      stubs[uid]?.send(.captured)
      if pod.enrolledAt == 0 { pods[uid]?.enrolledAt = DispatchTime.now().uptimeNanoseconds }
      if let cgroup = cgroupPods.cgroup(shownAs: uid) ?? stubMade[uid].flatMap({ cgroupPods.cgroup(uid: $0) }) {
        settleCgroups(only: cgroup)
      }
    case .release:
      attempt("release of a pod") { try engine.release(uid: uid) }
      takeFromProxy(uid)
      dropAdopted(uid)
      pods[uid]?.namespace = nil
      dropReserve(uid)
    case .discardListeners: takeFromProxy(uid)
    }
  }

  /// The pod's connections go on: those of a pod that is gone end by `vanished`.
  private func takeFromProxy(_ uid: String) {
    guard let pod = pods[uid], !pod.listeners.isEmpty else { return }
    link?.send(
      .with {
        $0.removePod.uid = uid
        $0.removePod.runsOn = true
      })
    for fd in pod.listeners { close(fd) }
    pods[uid]?.listeners = []
    pods[uid]?.captured = nil
  }

  /// What a proxy before this agent serves for the pod and nobody wants. The connections of a pod that is still there, and
  /// has only left the mesh, go on.
  func dropAdopted(_ uid: String) {
    guard let listeners = adopted.removeValue(forKey: uid) else { return }
    let namespace = try? namespace(of: uid)
    let runsOn =
      namespace.map { space in listeners.allSatisfy { NetworkNamespace.cookie(of: $0) == space.cookie } } ?? false
    link?.send(
      .with {
        $0.removePod.uid = uid
        $0.removePod.runsOn = runsOn
      })
    for fd in listeners { close(fd) }
  }

  private func namespace(of uid: String) throws -> NetworkNamespace {
    if let known = pods[uid]?.namespace { return known }
    let namespace =
      try pods[uid]?.sandbox.open?.value
      ?? NetworkNamespace(path: pods[uid]?.sandbox.networkNamespace ?? "")
    pods[uid]?.namespace = namespace
    return namespace
  }

  /// Who opens the pod's sockets.
  /// - Throws: it is the pod's stub, and that isn't there.
  private func socketSource(of uid: String, in namespace: NetworkNamespace) throws -> any PodSocketSource {
    guard mesh.workloads[uid]?.mode == .stubHandoff else {
      return NamespaceSocketSource(thread: namespaces, namespace: namespace)
    }
    return try stub(of: uid, in: namespace)
  }

  private func openListeners(_ uid: String) throws {
    let namespace = try namespace(of: uid)
    if let listeners = adopted[uid] {
      if listeners.allSatisfy({ NetworkNamespace.cookie(of: $0) == namespace.cookie }) {
        adopted[uid] = nil
        return opened(uid, listeners, in: namespace)
      }
      // The pod was made anew while no agent was there.
      dropAdopted(uid)
      try engine.hold(uid: uid, namespace: namespace, addresses: pods[uid]?.sandbox.addresses ?? [])
    }
    let source = try socketSource(of: uid, in: namespace)
    Task {
      do {
        let listeners = try await source.openListeners()
        opened(uid, listeners, in: namespace)
      } catch {
        guard pods[uid]?.namespace === namespace else { return }
        failed(uid, error)
      }
    }
  }

  /// Listeners of a namespace that the pod has left meanwhile are of no use.
  private func opened(_ uid: String, _ listeners: [Int32], in namespace: NetworkNamespace) {
    guard pods[uid]?.namespace === namespace else {
      for fd in listeners { close(fd) }
      return
    }
    pods[uid]?.listeners = listeners
    perform(pods[uid]?.lifecycle.listenersOpened() ?? [], uid)
  }

  /// Of each kind, as soon as a pod is enrolled, some for each event loop: others that come with it wait for their listeners.
  private var firstSockets: Int { min(Self.usualSockets, max(4, 2 * configuration.proxyWorkers)) }
  /// Of each kind, when no pod waits any more.
  private static let usualSockets = 16
  /// To its own application, when no pod waits any more: new connections are made of them while no agent is there.
  private static let stockedSockets = 128
  /// Nanoseconds after its enrolment.
  private static let stockedAfter: UInt64 = 1_000_000_000
  private static let stockedPerTick = 4

  /// Fills the stock of pods that have only the first sockets, and then that of those without all, a few at a time, as far as
  /// descriptors allow.
  func stockSockets(now: UInt64) {
    guard link != nil, !pods.values.contains(where: { [.opening, .awaitingProxy].contains($0.lifecycle.phase) }) else {
      return
    }
    let fresh = pods.filter { $0.value.stock == .first && $0.value.lifecycle.phase == .enrolled }
    let due = pods.filter {
      $0.value.stock == .usual && $0.value.lifecycle.phase == .enrolled
        && now > $0.value.enrolledAt + Self.stockedAfter
    }
    for (uid, pod) in fresh.prefix(Self.stockedPerTick * 4) {
      pods[uid]?.stock = .usual
      for kind in PodSocketKind.allCases where pod.has(kind) && firstSockets < Self.usualSockets {
        sendSockets(uid, kind, count: Self.usualSockets - firstSockets)
      }
    }
    guard pods.count * 2 * Self.stockedSockets < DescriptorLimit.current else { return }
    for (uid, pod) in due.prefix(Self.stockedPerTick) {
      pods[uid]?.stock = .full
      for kind in [PodSocketKind.deliveryV4, .deliveryV6] where pod.has(kind) {
        sendSockets(uid, kind, count: Self.stockedSockets - Self.usualSockets)
      }
    }
  }

  /// Gives the proxy the pod's listeners, and sockets ahead of need.
  /// - Parameter more: others follow at once.
  func hand(_ uid: String, more: Bool = false) {
    guard let pod = pods[uid], let link, !pod.listeners.isEmpty else { return }
    link.send(
      .with {
        $0.addPod.uid = uid
        $0.addPod.more = more
        $0.addPod.listeners = PodListener.allCases.map { Weft_Proxy_V1_Listener(rawValue: $0.rawValue) ?? .outbound }
      }, descriptors: pod.listeners.map { fcntl($0, F_DUPFD_CLOEXEC, 3) })
    // Others may be waiting for their listeners: theirs come first.
    if pod.captured != nil || adopted[uid] != nil { offerSockets(uid) }
  }

  private func offerSockets(_ uid: String) {
    guard let pod = pods[uid] else { return }
    pods[uid]?.stock = .first
    for kind in PodSocketKind.allCases where pod.has(kind) {
      sendSockets(uid, kind, count: firstSockets)
    }
  }

  /// - Parameter link: nil: the proxy that serves now.
  func sendSockets(_ uid: String, _ kind: PodSocketKind, count: Int, to link: ProxyLink? = nil) {
    // An adopted pod that waits for its certificate is served all the same.
    guard let namespace = try? namespace(of: uid) else { return }
    let count = max(1, min(count, 128))
    if mesh.workloads[uid]?.mode == .stubHandoff { return sendFromReserve(uid, kind, count: count, to: link) }
    let source = NamespaceSocketSource(thread: namespaces, namespace: namespace)
    Task {
      do {
        pass(try await source.open(kind, count: count), kind, of: uid, to: link)
      } catch {
        logger.error("no sockets for a pod", metadata: ["pod": "\(uid)", "error": "\(error)"])
      }
    }
  }
}

extension Agent {
  /// Gives the proxy sockets; those of an agent without one are closed.
  func pass(_ sockets: [Int32], _ kind: PodSocketKind, of uid: String, to link: ProxyLink? = nil) {
    guard let link = link ?? self.link else {
      for fd in sockets { close(fd) }
      return
    }
    link.send(
      .with {
        $0.sockets.uid = uid
        $0.sockets.kind = Weft_Proxy_V1_SocketKind(rawValue: kind.rawValue) ?? .egressV4
      }, descriptors: sockets)
  }
}

extension Workload {
  /// Whether that node's proxy carries its connections.
  func isCarried(on node: String) -> Bool { isMeshed && self.node == node && !usesHostNetwork && mode != .stubTunnel }
}

extension Agent.Pod.Captured {
  init(_ workload: Workload?) {
    self.init(failMode: workload?.failMode == .open ? .open : .closed, probePorts: workload?.probePorts ?? [])
  }
}
