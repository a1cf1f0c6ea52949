import Capture
import DiscoveryAPI
import Foundation
import Identity

/// The proxy: told everything when it appears, and each change from then on.
extension Agent {
  /// Tells a proxy all that it needs in one go, so that it serves before anything is answered.
  func connected(
    _ link: ProxyLink, _ inventory: [ProxySupervisor.Inventory]
  ) {
    self.link = link
    proxyAnswered = DispatchTime.now().uptimeNanoseconds
    let order = PodListener.allCases.map(\.rawValue)
    for pod in inventory {
      if pods[pod.uid]?.listeners.isEmpty == false || pod.listeners.map(\.rawValue) != order {
        for fd in pod.descriptors { close(fd) }
      } else {
        for fd in adopted.updateValue(pod.descriptors, forKey: pod.uid) ?? [] { close(fd) }
      }
    }
    link.send(.with { $0.trustBundle.roots = trustBundle.roots.map { Data($0) } })
    for entry in identities.entries.values { if let held = entry.held { push(held) } }
    // Of a mesh that isn't known yet nothing is gone: a living proxy serves on by what it has.
    for update in mesh.allUpdates(replacing: meshIsSettled) { push(update) }
    let listening = pods.keys.filter { pods[$0]?.listeners.isEmpty == false }
    for uid in listening { hand(uid, more: uid != listening.last) }
    logger.info("the proxy is connected", metadata: ["pods": "\(inventory.count)"])
  }

  private static let settlingTime: UInt64 = 2_000_000_000

  /// Takes the mesh as known in full once every type has come and nothing more has for 2 s: the control plane may need
  /// several responses for it, and none of them says that it is the last. Only then may what a proxy and an agent before
  /// this one still hold beyond it go.
  func settle(now: UInt64) {
    guard !meshIsSettled, mesh.knowsEveryType, now > meshChangedAt + Self.settlingTime,
      !isRestoredStale || heardTypes.isSuperset(of: MeshState.typeURLs)
    else { return }
    meshIsSettled = true
    for update in mesh.allUpdates(replacing: true) { push(update) }
    removeLeftovers()
  }

  func push(_ identity: HeldIdentity) {
    link?.send(
      .with {
        $0.identity.spiffeID = identity.certificate.spiffeID
        $0.identity.chain = identity.certificate.chain.map { Data($0) }
        $0.identity.privateKey = Data(identity.key.pkcs8DER)
      })
  }

  /// - Returns: the proxy's word on the update: its error, empty where it was taken; nil where none comes in 2 s.
  func pushAndWait(_ update: Weft_Proxy_V1_MeshUpdate) async -> String? {
    guard link != nil else { return nil }
    let version = push(update)
    Task {
      try? await Task.sleep(for: .seconds(2))
      acknowledgements.removeValue(forKey: version)?.resume(returning: nil)
    }
    return await withCheckedContinuation { acknowledgements[version] = $0 }
  }

  @discardableResult
  func push(_ update: Weft_Proxy_V1_MeshUpdate) -> UInt64 {
    meshVersion += 1
    var update = update
    update.version = meshVersion
    update.node = configuration.node
    link?.send(.with { $0.mesh = update })
    return update.version
  }

  func received(_ message: Weft_Proxy_V1_FromProxy) {
    switch message.body {
    case .podReady(let pod):
      perform(pods[pod.uid]?.lifecycle.proxyReady() ?? [], pod.uid)
      isServed(pod.uid)
    case .podRefused(let pod): refused(pod.uid, "the proxy doesn't serve it: \(pod.reason)")
    case .needSockets(let need):
      if let kind = PodSocketKind(rawValue: need.kind.rawValue) { sendSockets(need.uid, kind, count: Int(need.count)) }
    case .meshAck(let ack):
      acknowledgements.removeValue(forKey: ack.version)?.resume(returning: ack.error)
      if !ack.error.isEmpty {
        logger.error("the proxy refused an update", metadata: ["version": "\(ack.version)", "error": "\(ack.error)"])
      }
    case .queryReply(let reply): queries.removeValue(forKey: reply.id)?.resume(returning: reply.json)
    case .hello, .drained, nil: break
    }
  }

  /// Asks the proxy; nil where none answers within 2 s.
  /// - Parameter service: whose endpoints are meant; empty: all Services'.
  func ask(_ what: String, service: String = "") async -> Data? {
    guard let link, queries.count < 64 else { return nil }
    nextQuery += 1
    let id = nextQuery
    Task {
      try? await Task.sleep(for: .seconds(2))
      queries.removeValue(forKey: id)?.resume(returning: nil)
    }
    return await withCheckedContinuation { continuation in
      queries[id] = continuation
      link.send(
        .with {
          $0.query.id = id
          $0.query.what = what
          $0.query.service = service
        })
    }
  }

  private static let healthBound: UInt64 = 5_000_000_000

  /// Whether the proxy has answered lately, with every worker.
  func isProxyHealthy(_ now: UInt64) -> Bool {
    link != nil && now - min(now, proxyAnswered) < Self.healthBound
  }

  func askForHealth() async {
    struct Answer: Decodable {
      let workers: Int
    }
    guard let reply = await ask("statistics"), let answer = try? JSONDecoder().decode(Answer.self, from: reply),
      answer.workers == configuration.proxyWorkers
    else { return }
    proxyAnswered = DispatchTime.now().uptimeNanoseconds
  }
}
