import Capture
import DiscoveryAPI
import Foundation
import MeshModel

/// Pods: what their lifecycles ask for is done here.
extension Agent {
  func appeared(_ sandbox: PodSandbox) {
    if let known = pods[sandbox.uid] {
      guard known.sandbox != sandbox else { return }
      vanished(sandbox.uid)
    }
    pods[sandbox.uid] = Pod(sandbox: sandbox)
    logger.info("pod found", metadata: ["pod": "\(sandbox.uid)"])
    updateNeeds()
    evaluate(sandbox.uid)
  }

  func vanished(_ uid: String) {
    guard let pod = pods[uid] else { return }
    perform(pods[uid]?.lifecycle.set(wanted: false, hasIdentity: false) ?? [], uid)
    pods[uid] = nil
    logger.info("pod gone", metadata: ["pod": "\(pod.sandbox.uid)"])
    updateNeeds()
  }

  func evaluateAll() {
    for uid in Array(pods.keys) { evaluate(uid) }
  }

  func evaluate(_ uid: String) {
    guard pods[uid] != nil else { return }
    let workload = mesh.workloads[uid]
    let isWanted = workload.map { $0.isMeshed && $0.node == configuration.node } ?? false
    let hasIdentity = workload.flatMap { mesh.identity(of: $0) }.flatMap { identities.held($0) } != nil
    perform(pods[uid]?.lifecycle.set(wanted: isWanted, hasIdentity: hasIdentity) ?? [], uid)
  }

  func perform(_ actions: [PodLifecycle.Action], _ uid: String) {
    for action in actions {
      do {
        try perform(action, uid)
      } catch {
        logger.error("pod \(uid): \(error)")
        let next = pods[uid]?.lifecycle.failed("\(error)", now: DispatchTime.now().uptimeNanoseconds) ?? []
        // A hold that fails again would only fail for the same reason.
        for action in next { try? perform(action, uid) }
        return
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
      let workload = mesh.workloads[uid]
      try engine.enrol(
        PodEnrolment(
          uid: uid, namespace: try namespace(of: uid), addresses: pod.sandbox.addresses,
          inboundListener: pod.listeners[PodListener.inbound.rawValue],
          failMode: workload?.failMode == .open ? .open : .closed, probePorts: workload?.probePorts ?? []))
      logger.info("pod enrolled", metadata: ["pod": "\(uid)"])
    case .release:
      attempt("release of \(uid)") { try engine.release(uid: uid) }
      link?.send(.with { $0.removePod.uid = uid })
      closeListeners(uid)
      pods[uid]?.namespace = nil
    case .discardListeners: closeListeners(uid)
    }
  }

  private func namespace(of uid: String) throws -> NetworkNamespace {
    if let known = pods[uid]?.namespace { return known }
    let namespace = try NetworkNamespace(path: pods[uid]?.sandbox.networkNamespace ?? "")
    pods[uid]?.namespace = namespace
    return namespace
  }

  private func openListeners(_ uid: String) throws {
    if let listeners = adopted.removeValue(forKey: uid), listeners.count == PodListener.allCases.count {
      pods[uid]?.listeners = listeners
      perform(pods[uid]?.lifecycle.listenersOpened() ?? [], uid)
      return
    }
    let namespace = try namespace(of: uid)
    Task {
      do {
        let listeners = try await namespaces.run(in: namespace) { try PodSockets.openListeners() }
        opened(uid, listeners, in: namespace)
      } catch {
        perform(pods[uid]?.lifecycle.failed("\(error)", now: DispatchTime.now().uptimeNanoseconds) ?? [], uid)
      }
    }
  }

  private func opened(_ uid: String, _ listeners: [Int32], in namespace: NetworkNamespace) {
    guard pods[uid]?.namespace === namespace else {
      for fd in listeners { close(fd) }
      return
    }
    pods[uid]?.listeners = listeners
    perform(pods[uid]?.lifecycle.listenersOpened() ?? [], uid)
  }

  private func closeListeners(_ uid: String) {
    for fd in pods[uid]?.listeners ?? [] { close(fd) }
    pods[uid]?.listeners = []
  }

  /// Gives the proxy the pod's listeners, and sockets ahead of need.
  func hand(_ uid: String) {
    guard let pod = pods[uid], let link, !pod.listeners.isEmpty else { return }
    link.send(
      .with {
        $0.addPod.uid = uid
        $0.addPod.listeners = PodListener.allCases.map { Weft_Proxy_V1_Listener(rawValue: $0.rawValue) ?? .outbound }
      }, descriptors: pod.listeners.map { fcntl($0, F_DUPFD_CLOEXEC, 3) })
    let hasV6 = pod.sandbox.addresses.contains { $0.family == .v6 }
    for kind in PodSocketKind.allCases where hasV6 || kind == .egressV4 || kind == .deliveryV4 {
      sendSockets(uid, kind, count: 16)
    }
  }

  func sendSockets(_ uid: String, _ kind: PodSocketKind, count: Int) {
    guard let namespace = pods[uid]?.namespace else { return }
    let count = max(1, min(count, 128))
    Task {
      do {
        let sockets = try await namespaces.run(in: namespace) { try PodSockets.open(kind, count: count) }
        guard let link else {
          for fd in sockets { close(fd) }
          return
        }
        link.send(
          .with {
            $0.sockets.uid = uid
            $0.sockets.kind = Weft_Proxy_V1_SocketKind(rawValue: kind.rawValue) ?? .egressV4
          }, descriptors: sockets)
      } catch {
        logger.error("no sockets for a pod", metadata: ["pod": "\(uid)", "error": "\(error)"])
      }
    }
  }
}
