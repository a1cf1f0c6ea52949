import Capture
import DiscoveryAPI
import Dispatch
import Foundation

/// Putting a proxy of this agent's program in the place of one that an agent before has started, with no connection lost.
extension Agent {
  enum Rollout: Equatable {
    /// Not looked at yet: nothing is replaced before pods, mesh and certificates are what they were.
    case undecided
    case deciding
    /// The new proxy is told everything; pods that it doesn't serve yet.
    case replacing(awaited: Set<String>, since: UInt64)
    case done
  }

  private static let replacingBound: UInt64 = 20_000_000_000

  func tickRollout(now: UInt64) {
    switch rollout {
    case .undecided: decideOnRollout()
    case .replacing(let awaited, let since):
      if awaited.isEmpty {
        rollout = .done
        logger.info("the new proxy serves every pod: the one before finishes what is open")
        Task { await supervisor.retire() }
      } else if now > since + Self.replacingBound {
        rollout = .done
        problems["replacement of the proxy"] = "the new one doesn't serve \(awaited.sorted().prefix(5))"
        Task { await supervisor.abandon() }
      }
    case .deciding, .done: break
    }
  }

  private func decideOnRollout() {
    guard link != nil, meshIsSettled, podsAreKnown, adopted.isEmpty,
      pods.values.allSatisfy({ [.enrolled, .outside].contains($0.lifecycle.phase) })
    else { return }
    rollout = .deciding
    Task {
      guard await supervisor.isOutdated(forced: configuration.replacesProxy) else {
        rollout = .done
        return
      }
      logger.info("the proxy is of another program: the next one starts beside it")
      await openUpstreamsAnew()
      do {
        try await supervisor.replace()
      } catch {
        rollout = .done
        problems["replacement of the proxy"] = "\(error)"
        logger.error("the proxy isn't replaced", metadata: ["error": "\(error)"])
      }
    }
  }

  /// Replies from a pod's DNS server come to one socket: two proxies would take them from each other.
  private func openUpstreamsAnew() async {
    let index = PodListener.dnsUpstream.rawValue
    for uid in Array(pods.keys) {
      guard let pod = pods[uid], pod.listeners.count > index, let namespace = pod.namespace,
        // A stub opens no single listener: its pod's queries that are under way then are asked again by who sent them.
        mesh.workloads[uid]?.mode != .stubHandoff,
        let fd = try? await NamespaceSocketSource(thread: namespaces, namespace: namespace).open(.dnsUpstream)
      else { continue }
      if pods[uid]?.namespace === namespace, let old = pods[uid]?.listeners.dropFirst(index).first {
        pods[uid]?.listeners[index] = fd
        close(old)
      } else {
        close(fd)
      }
    }
  }

  func replaced(by link: ProxyLink) {
    let awaited = Set(pods.filter { !$0.value.listeners.isEmpty }.keys)
    rollout = .replacing(awaited: awaited, since: DispatchTime.now().uptimeNanoseconds)
    connected(link, [])
  }

  /// By a proxy that is to replace another, which serves the pod: then that one goes on.
  func refused(_ uid: String, _ reason: String) {
    guard case .replacing = rollout else { return failed(uid, AgentError(reason)) }
    rollout = .done
    problems["replacement of the proxy"] = "\(uid): \(reason)"
    Task { await supervisor.abandon() }
  }

  func isServed(_ uid: String) {
    guard case .replacing(var awaited, let since) = rollout else { return }
    awaited.remove(uid)
    rollout = .replacing(awaited: awaited, since: since)
    if awaited.isEmpty { tickRollout(now: since) }
  }

  /// What the proxy that was replaced still needs to finish what is open.
  func received(_ message: Weft_Proxy_V1_FromProxy, predecessor link: ProxyLink) {
    switch message.body {
    case .needSockets(let need):
      if let kind = PodSocketKind(rawValue: need.kind.rawValue) {
        sendSockets(need.uid, kind, count: Int(need.count), to: link)
      }
    case .meshAck, .queryReply: received(message)
    default: break
    }
  }
}
